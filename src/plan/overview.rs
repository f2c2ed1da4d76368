//! What the lists come to, put together once: both the questions of round two and the plan are decided from it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::drift::{Drifted, drifted};
use super::need::{self, Counts};
use super::snapshot::Snapshots;
use super::snapshot::due::{Look, looks};
use crate::desired::Desired;
use crate::names::PoolName;
use crate::node::{Joined, join};
use crate::observed::Observed;

#[derive(Debug)]
pub struct Overview<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub now: Timestamp,
    pub joined: Joined<'a>,
    pub snapshots: Snapshots<'a>,
    pub drifted: Drifted,
    pub counts: BTreeMap<PoolName, Counts>,
    /// How each snapshot stands.
    pub looks: Vec<Look<'a>>,
}

impl<'a> Overview<'a> {
    pub fn of(desired: &'a Desired, observed: &'a Observed, now: Timestamp) -> Self {
        let joined = join(desired, observed, now);
        let snapshots = Snapshots::of(desired, observed);
        let drifted = drifted(desired, observed, &joined, &snapshots, now);
        let counts = need::counts(desired, observed, &joined, &drifted, now);
        let looks = looks(desired, observed, &joined, &snapshots, now);
        Self { desired, observed, now, joined, snapshots, drifted, counts, looks }
    }
}
