//! A builder's state: the table of docs/architecture.md, row by row. Up to its setup script it is a machine as others are.

use super::{Rules, Stage, State, exceeds};
use crate::desired::SnapshotImage;
use crate::desired::units::since;
use crate::node::{FailedWhy, KeptWhy};
use crate::observed::{Image, ImageMark, MachineSight, ScriptState, ServerStatus};

impl Rules<'_, '_> {
    pub(super) fn builder(&self) -> State {
        let node = self.node;
        if node.server.is_deleting() {
            return State::Deleting;
        }
        if let Some(state) = self.held().or_else(|| self.retiring()) {
            return state;
        }
        if node.marks.image.is_none() {
            return State::Kept(KeptWhy::NoPool);
        }
        if node.server.status == ServerStatus::Build {
            return self.launching();
        }
        if let Some(mark) = &node.marks.failed {
            return State::Failed(FailedWhy::Marked(mark.text.clone()));
        }
        match &node.server.status {
            ServerStatus::Error => State::Failed(FailedWhy::Error(node.server.fault.clone().unwrap_or_default())),
            ServerStatus::Active | ServerStatus::Shutoff => self.building(),
            status @ (ServerStatus::Build
            | ServerStatus::Deleted
            | ServerStatus::Paused
            | ServerStatus::SoftDeleted
            | ServerStatus::Suspended
            | ServerStatus::Other(_)) => State::Kept(KeptWhy::Status(status.as_str().to_owned())),
        }
    }

    fn building(&self) -> State {
        let node = self.node;
        // What Glance has of it comes before what becomes of the desired state meanwhile: it is all but done.
        if let Some(state) = self.by_image() {
            return state;
        }
        let (Some(image), Some(provider)) = (node.image, self.provider()) else {
            return State::Retiring("its image was removed".to_owned());
        };
        let on = node.server.status == ServerStatus::Active;
        let failed = State::Failed;
        match node.marks.built {
            None if !on => failed(FailedWhy::OffTooEarly),
            None if matches!(node.machine, Some(MachineSight::OtherKey { .. })) => failed(FailedWhy::OtherHostKey),
            None => self.setup(image),
            Some(at) if on && since(at, self.now) > provider.boot_timeout => {
                failed(FailedWhy::NotOff { within: provider.boot_timeout })
            }
            Some(_) if on => State::Snapshot(Stage::TurningOff),
            // Nova deletes an image itself when its upload fails.
            Some(at) if since(at, self.now) > image.setup_timeout => failed(FailedWhy::NotSaved { within: image.setup_timeout }),
            Some(_) => State::Snapshot(Stage::Off),
        }
    }

    fn setup(&self, image: &SnapshotImage) -> State {
        let Some(provider) = self.provider() else { return State::Booting { up: None } };
        let within = image.setup_timeout;
        match self.script(provider, within) {
            Err(state) => state,
            Ok(ScriptState::NotStarted) => State::Booting { up: self.node.marks.hostkey.clone() },
            Ok(ScriptState::Running { seconds, tail }) if exceeds(*seconds, within) => {
                State::Failed(FailedWhy::SetupTimeout { within, tail: tail.clone() })
            }
            Ok(ScriptState::Running { .. }) => State::Preparing,
            Ok(ScriptState::Passed) => State::Snapshot(Stage::Passed),
            Ok(ScriptState::Exited { status, tail }) => State::Failed(FailedWhy::Setup { status: *status, tail: tail.clone() }),
            Ok(ScriptState::Vanished { tail }) => State::Failed(FailedWhy::SetupVanished { tail: tail.clone() }),
        }
    }

    /// By the images of this builder that Glance shows: the sealed one, else the active one, else the newest.
    fn by_image(&self) -> Option<State> {
        let node = self.node;
        let sealed = |image: &&&Image| image.mark(ImageMark::Itself).is_some();
        let stage = |stage| Some(State::Snapshot(stage));
        if let Some(image) = node.snapshots.iter().find(sealed) {
            return stage(Stage::Sealed(image.id.clone()));
        }
        if let Some(image) = node.snapshots.iter().find(|image| image.is_active()) {
            return stage(Stage::Saved(image.id.clone()));
        }
        let newest = node.snapshots.iter().max_by_key(|image| (image.created, &image.id))?;
        match newest.status.as_str() {
            "queued" | "saving" | "uploading" | "importing" => {
                let within = node.setup_timeout();
                if since(newest.created, self.now) > within {
                    Some(State::Failed(FailedWhy::NotSaved { within }))
                } else {
                    stage(Stage::Saving)
                }
            }
            other => Some(State::Failed(FailedWhy::ImageIs(other.to_owned()))),
        }
    }
}
