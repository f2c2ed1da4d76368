//! What a state is called and counts as. How it comes about is `state`'s.

use super::state::{Stage, State};

impl State {
    /// The word of listings and of the plan's table.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Deleting => "deleting",
            Self::Busy => "busy",
            Self::Held(_) => "held",
            Self::HoldOver(_) | Self::Retiring(_) => "retiring",
            Self::Launching => "launching",
            Self::Failed(_) => "failed",
            Self::Kept(_) => "kept",
            Self::WithoutFloatingIp | Self::Booting { .. } => "booting",
            Self::Preparing => "preparing",
            Self::ToRegister => "registering",
            Self::Joining { .. } => "joining",
            Self::Orphan => "orphan",
            Self::Used(_) | Self::Resuming { .. } => "used",
            Self::Lost { .. } | Self::MassOffline => "lost",
            Self::Unseen => "not seen",
            Self::Ready => "ready",
            Self::Snapshot(Stage::Passed) => "built",
            Self::Snapshot(Stage::TurningOff) => "turning off",
            Self::Snapshot(Stage::Off) => "off",
            Self::Snapshot(Stage::Saving) => "saving",
            Self::Snapshot(Stage::Saved(_)) => "saved",
            Self::Snapshot(Stage::Sealed(_)) => "done",
        }
    }

    /// On its way to ready, without a person.
    pub fn is_coming(&self) -> bool {
        matches!(
            self,
            Self::Launching
                | Self::WithoutFloatingIp
                | Self::Booting { .. }
                | Self::Preparing
                | Self::ToRegister
                | Self::Joining { .. }
                | Self::Lost { .. }
                | Self::MassOffline
                | Self::Snapshot(_)
        )
    }

    /// In BUILD or booting: what `max-concurrent-launches` counts.
    pub fn is_launching(&self) -> bool {
        matches!(self, Self::Launching | Self::WithoutFloatingIp | Self::Booting { .. })
    }
}
