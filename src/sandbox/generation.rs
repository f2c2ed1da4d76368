//! The generations of Jenkins that the sandbox plays, and what each of them tells or takes. From recorded answers.

/// Named by the version that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// Eclipse Hudson 3.3.2: the node API of Jenkins as it was in 2011.
    Hudson332,
    J1_651,
    J2_46,
    J2_462,
    J2_568,
}

impl Generation {
    pub const ALL: [Self; 5] = [Self::Hudson332, Self::J1_651, Self::J2_46, Self::J2_462, Self::J2_568];

    /// `X-Jenkins`; Hudson sends none on API answers.
    pub fn version(self) -> Option<&'static str> {
        match self {
            Self::Hudson332 => None,
            Self::J1_651 => Some("1.651.2"),
            Self::J2_46 => Some("2.46.1"),
            Self::J2_462 => Some("2.462.3"),
            Self::J2_568 => Some("2.568.2"),
        }
    }

    /// `hudson-3.3.2`, `1.651.2` and so on.
    pub fn name(self) -> &'static str {
        self.version().unwrap_or("hudson-3.3.2")
    }

    /// From a name or the beginning of one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generation| !text.is_empty() && generation.name().starts_with(text))
    }

    /// `offlineCause.timestamp` and `offlineCauseReason`: 1.612.
    pub fn tells_reason(self) -> bool {
        self >= Self::J1_651
    }

    /// `_class`: 2.2.
    pub fn tells_class(self) -> bool {
        self >= Self::J2_46
    }

    /// `description` (2.79) and `assignedLabels` (2.94).
    pub fn tells_description(self) -> bool {
        self >= Self::J2_462
    }

    /// The mark is kept in the node, shown before its agent is back, and over a lost channel: 2.482.
    pub fn keeps_marks(self) -> bool {
        self >= Self::J2_568
    }

    /// A POST with an API token needs no crumb: 2.96.
    pub fn token_needs_no_crumb(self) -> bool {
        self >= Self::J2_462
    }

    /// The crumb is bound to the web session: 2.176.2.
    pub fn crumb_needs_session(self) -> bool {
        self >= Self::J2_462
    }

    pub fn crumb_field(self) -> &'static str {
        if self >= Self::J2_46 { "Jenkins-Crumb" } else { ".crumb" }
    }

    /// `changeOfflineCause`; without it there is only `toggleOffline`.
    pub fn changes_offline_cause(self) -> bool {
        self >= Self::J1_651
    }

    /// `jenkins-agent.jnlp`: 2.264.
    pub fn new_jnlp_name(self) -> bool {
        self >= Self::J2_462
    }

    /// Changing calls by GET are refused.
    pub fn refuses_get(self) -> bool {
        self >= Self::J2_462
    }

    /// 302 for an agent with 0 executors although no computer appears; older ones answer 500.
    pub fn swallows_zero_executors(self) -> bool {
        self >= Self::J2_462
    }

    pub fn own_node(self) -> &'static str {
        if self >= Self::J2_462 { "Built-In Node" } else { "master" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_found_by_their_version() {
        assert_eq!(Generation::parse("2.462"), Some(Generation::J2_462));
        assert_eq!(Generation::parse("hudson"), Some(Generation::Hudson332));
        assert_eq!(Generation::parse("2.46"), Some(Generation::J2_46), "the shorter one comes first");
        assert_eq!(Generation::parse(""), None);
        assert_eq!(Generation::parse("3"), None);
    }
}
