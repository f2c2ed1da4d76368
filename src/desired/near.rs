//! The known name that a misspelt one most likely means: the one door to `similar` in the pure stages.

/// How alike two names must be, of 1: what Python's difflib takes. `lap` means `lab`, and `colour` no key of ours.
const ALIKE: f32 = 0.6;

/// The known name that is nearest to a misspelt one: `min_ready` is `min-ready`.
pub fn near<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
    let known: Vec<(String, &str)> = known.into_iter().map(|name| (plain(name), name)).collect();
    let plains: Vec<&str> = known.iter().map(|(plain, _)| plain.as_str()).collect();
    let found = similar::get_close_matches(plain(name).as_str(), &plains, 1, ALIKE);
    let found = found.first()?;
    known.iter().find(|(plain, _)| plain == found).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let known = || ["min-ready", "max-servers", "m1.small", "executors"];
        assert_eq!(near("min_ready", known()), Some("min-ready"));
        assert_eq!(near("Max-Server", known()), Some("max-servers"));
        assert_eq!(near("lap", ["lab"]), Some("lab"));
        assert_eq!(near("m1.smal", known()), Some("m1.small"));
        assert_eq!(near("colour", known()), None);
        assert_eq!(near("x", known()), None);
    }
}
