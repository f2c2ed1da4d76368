//! Names of nodes: unique for ever, sorting by time, and checkable, so that a name nominates only nodes of this deployment.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::desired::Digest;
use crate::names::{ControllerId, NodeName};

/// Crockford's base 32 in lower case: sorts as it counts, and has no `i`, `l`, `o`, `u`.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Seconds since 1970 fit into 7 digits of 5 bits until the year 3058.
const TIME_DIGITS: usize = 7;
const SEQUENCE_DIGITS: usize = 2;
const CHECK_DIGITS: usize = 2;

/// What a name has behind its pool's name and the dash.
pub const SUFFIX: usize = TIME_DIGITS + SEQUENCE_DIGITS + CHECK_DIGITS;

/// `<pool or image>-<time><sequence><check>`, the first of this second that is not taken.
pub fn next(controller: &ControllerId, of: &str, now: Timestamp, taken: &BTreeSet<NodeName>) -> Option<NodeName> {
    let seconds = u64::try_from(now.as_second()).ok()?;
    let names = (0..32_u64.pow(2)).map(|sequence| {
        let stem = format!("{of}-{}{}", base32(seconds, TIME_DIGITS), base32(sequence, SEQUENCE_DIGITS));
        NodeName::new(format!("{stem}{}", check(controller, &stem)))
    });
    names.into_iter().find(|name| !taken.contains(name))
}

/// Whether a name's check digits are those of this deployment. A name only nominates: marks decide.
pub fn is_ours(controller: &ControllerId, name: &str) -> bool {
    let Some(at) = name.len().checked_sub(CHECK_DIGITS) else { return false };
    let (Some(stem), Some(digits)) = (name.get(..at), name.get(at..)) else { return false };
    let shaped =
        stem.rsplit_once('-').is_some_and(|(pool, rest)| !pool.is_empty() && rest.len() == TIME_DIGITS + SEQUENCE_DIGITS);
    shaped && check(controller, stem) == digits
}

fn check(controller: &ControllerId, stem: &str) -> String {
    let digest = Digest::of(&[controller.as_str(), stem]);
    let number = u64::from_str_radix(digest.as_str(), 16).unwrap_or_default();
    base32(number, CHECK_DIGITS)
}

/// The lowest `digits` digits of a number.
fn base32(number: u64, digits: usize) -> String {
    let digit = |place: usize| {
        let value = (number >> (5 * place)) & 31;
        usize::try_from(value).ok().and_then(|value| DIGITS.get(value)).map_or('0', |digit| char::from(*digit))
    };
    (0..digits).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn names_are_unique_sorted_and_ours() {
        let (controller, pool) = (ControllerId::from("contint"), "ci-jessie");
        let mut taken = BTreeSet::new();
        for second in [1_795_410_000, 1_795_410_000, 1_795_410_001] {
            let name = next(&controller, pool, at(second), &taken).expect("a name");
            assert!(is_ours(&controller, name.as_str()), "{name}");
            assert!(taken.iter().all(|earlier| *earlier < name), "{name} sorts last");
            assert_eq!(name.as_str().len(), "ci-jessie-".len() + SUFFIX);
            taken.insert(name);
        }
        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn a_name_of_another_deployment_or_a_person_is_not_ours() {
        let pool = "ci";
        let theirs = next(&ControllerId::from("other"), pool, at(1_795_410_000), &BTreeSet::new()).expect("a name");
        let ours = ControllerId::from("contint");
        for name in [theirs.as_str(), "ci-jessie-227", "debug-trusty", "", "é", "ci-"] {
            assert!(!is_ours(&ours, name), "{name}");
        }
    }

    #[test]
    fn golden_name() {
        let name = next(&ControllerId::from("contint"), "ci", at(1_795_410_000), &BTreeSet::new());
        assert_eq!(
            name.map(|name| name.to_string()),
            Some("ci-1ng7j2g00wq".to_owned()),
            "agents of running deployments carry these names"
        );
    }
}
