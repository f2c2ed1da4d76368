//! A builder's chain of a pass: up to its setup script, off, into Glance, sealed; or the way down. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::keep::{delete_unsealed, sealed};
use crate::desired::units::{exact, since};
use crate::desired::{Clean, SnapshotImage};
use crate::names::{ImageId, ImageName, ProviderName, ServerId};
use crate::node::{FailedWhy, KeptWhy, Node, Stage, State};
use crate::observed::{Hold, HostKey, Image, ImageMark, Mark, ServerStatus, marks};
use crate::plan::backoff::{BackOffs, key_of};
use crate::plan::prepare::{Run, Up};
use crate::plan::retire::{Sight, facts, removal};
use crate::plan::steps::{deletion, not_refused};
use crate::plan::{
    Act, Action, Because, Chain, CreateImage, Expects, ImageExpects, MarkExpects, ServerExpects, Step as UpStep, Subject,
    TurnOff, Verb, WaitsFor, floating,
};

/// A guest gets a minute to shut down; told again before that it only hears it twice.
const SHUTDOWN: SignedDuration = SignedDuration::from_secs(60);
/// Nova's createImage makes the image in Glance before it answers: what is not listed after a minute was taken away again.
const UNLISTED: SignedDuration = SignedDuration::from_secs(60);

/// What the steps of all builders are decided from.
#[derive(Debug)]
pub struct Builders<'s> {
    pub sight: Sight<'s>,
    pub back_offs: &'s BackOffs,
    /// From other inputs than those of now.
    pub stale: &'s BTreeSet<ServerId>,
    /// Kept failed builders whose room the next try needs.
    pub in_the_way: &'s BTreeSet<ServerId>,
    /// Images that are due.
    pub due: &'s BTreeSet<(ImageName, ProviderName)>,
}

type Step = Result<Option<Chain>, WaitsFor>;

impl Builders<'_> {
    pub fn of(&self, node: &Node<'_>) -> Step {
        not_refused(self.sight, self.by_state(node)?)
    }

    fn by_state(&self, node: &Node<'_>) -> Step {
        let removed = node.image.is_none();
        match &node.state {
            State::Retiring(why) if removed && node.marks.retire.is_none() => self.down(node, Because::ImageRemoved(why.clone())),
            State::Retiring(why) => self.down(node, Because::Retiring(why.clone())),
            State::HoldOver(who) => self.down(node, Because::HoldOver(who.clone())),
            State::Failed(why) => self.failed(node, Because::Failed(why.clone())),
            State::Launching | State::WithoutFloatingIp | State::Booting { .. } if removed => {
                self.down(node, Because::ImageRemoved("its image was removed".to_owned()))
            }
            // Nothing of the old inputs is there yet, or what is will be thrown away: the build of the new ones is due.
            State::Launching
            | State::WithoutFloatingIp
            | State::Booting { .. }
            | State::Preparing
            | State::Snapshot(Stage::Passed)
                if self.stale.contains(&node.server.id) =>
            {
                self.down(node, Because::InputsChanged)
            }
            State::Snapshot(Stage::Saving) => Err(WaitsFor::Saving),
            State::Booting { up: Some(_) } | State::Snapshot(_) if node.server.task.is_some() => Err(self.at_task(node)),
            State::WithoutFloatingIp => floating::create(self.sight, node).map(Some),
            State::Launching => Err(WaitsFor::Boot),
            State::Booting { up: None } => Err(WaitsFor::Ssh),
            State::Booting { up: Some(key) } => step(node, UpStep::Setup, self.setup(node, key)),
            State::Preparing => Err(WaitsFor::Setup),
            State::Snapshot(stage) => self.stage(node, stage),
            State::Deleting => Err(deletion(self.sight, node)),
            State::Held(who) => self.noted(node).map(Some).ok_or(WaitsFor::Person(who.clone())),
            State::Kept(KeptWhy::Status(status)) => Err(WaitsFor::Person(format!("Nova shows {status}"))),
            // The rest is a node's alone.
            State::Kept(KeptWhy::Person(_) | KeptWhy::NoPool)
            | State::Busy
            | State::ToRegister
            | State::Joining { .. }
            | State::Orphan
            | State::Used(_)
            | State::Resuming { .. }
            | State::Lost { .. }
            | State::MassOffline
            | State::Unseen
            | State::Ready => Err(WaitsFor::Person("it carries our mark, and no image that can be read".to_owned())),
        }
    }

    /// Nova deletes an image that it still saves when its server goes. What lasts longer than a build may is told to a person.
    fn at_task(&self, node: &Node<'_>) -> WaitsFor {
        let boot_timeout = self.sight.desired.provider(&node.provider).map(|provider| provider.boot_timeout).unwrap_or_default();
        let (from, longest) = match node.marks.built {
            Some(built) => (built, node.setup_timeout()),
            None => (node.server.launched.unwrap_or(node.server.created), boot_timeout + node.setup_timeout()),
        };
        if since(from, self.sight.now) <= longest {
            return WaitsFor::LaterPass;
        }
        WaitsFor::StuckTask { task: node.server.task.clone().unwrap_or_default(), longest: exact(longest) }
    }

    fn stage(&self, node: &Node<'_>, stage: &Stage) -> Step {
        let this_run = &self.sight.observed.this_run;
        match stage {
            Stage::Passed => step(node, UpStep::TurnOff, self.built(node)),
            Stage::TurningOff => {
                let told = this_run.turned_off.get(&node.server.id);
                if told.is_some_and(|at| since(*at, self.sight.now) < SHUTDOWN) {
                    return Err(WaitsFor::Off);
                }
                step(node, UpStep::TurnOff, self.turn_off(node).map(|action| vec![action]))
            }
            Stage::Off => match this_run.saved.get(&node.server.id) {
                Some(at) if since(*at, self.sight.now) < UNLISTED => Err(WaitsFor::Saving),
                Some(_) => Err(WaitsFor::SavedAgain),
                None => step(node, UpStep::CreateImage, self.create_image(node).map(|action| vec![action])),
            },
            Stage::Saving => Err(WaitsFor::Saving),
            Stage::Saved(image) => step(node, UpStep::Seal, Some(vec![self.seal(node, image)])),
            Stage::Sealed(_) => self.down(node, Because::Saved),
        }
    }

    fn up<'u, 'a>(&'u self, node: &'u Node<'a>) -> Option<Up<'u, 'a>> {
        let Sight { desired, now, .. } = self.sight;
        Some(Up { desired, node, provider: desired.provider(&node.provider)?, now })
    }

    fn setup(&self, node: &Node<'_>, key: &HostKey) -> Option<Vec<Action>> {
        let image = node.image?;
        let digest = SnapshotImage::setup_run(node.marks.spec.as_deref().unwrap_or_default());
        let (scripts, script) = (std::sync::Arc::clone(&image.scripts), Some(image.setup_script.clone()));
        self.up(node)?.prepare(key, Run { scripts, digest, script, env: image.env.clone() })
    }

    /// That the script passed is written before anything is cleaned: it is never started again.
    fn built(&self, node: &Node<'_>) -> Option<Vec<Action>> {
        let up = self.up(node)?;
        let mark = BTreeMap::from([(Mark::Built, marks::seconds(self.sight.now).to_string())]);
        let expects = up.expects(&[(Mark::Hostkey, MarkExpects::Present), (Mark::Built, MarkExpects::Absent)], None);
        Some(vec![up.set_marks(mark, expects), self.turn_off(node)?])
    }

    fn turn_off(&self, node: &Node<'_>) -> Option<Action> {
        let up = self.up(node)?;
        let clean: Vec<Clean> = node.image?.clean.clone();
        let act = Act::TurnOff(Box::new(TurnOff { machine: up.machine(node.marks.hostkey.clone()?)?, clean }));
        let marks = [(Mark::Hostkey, MarkExpects::Present), (Mark::Built, MarkExpects::Present)];
        Some(Action { act, expects: up.expects(&marks, None) })
    }

    fn create_image(&self, node: &Node<'_>) -> Option<Action> {
        let image = node.image?;
        let mark = |mark: Mark| node.server.mark(mark).unwrap_or_default().to_owned();
        let marks = BTreeMap::from([
            (ImageMark::Controller, self.sight.desired.controller.id.to_string()),
            (ImageMark::Image, image.name.to_string()),
            (ImageMark::Base, mark(Mark::Base)),
            (ImageMark::Build, node.server.id.to_string()),
            (ImageMark::Spec, mark(Mark::Spec)),
            // What its base would pass on is not its own.
            (ImageMark::Itself, String::new()),
            (ImageMark::Bad, String::new()),
            (ImageMark::Going, String::new()),
        ]);
        let create = CreateImage {
            provider: node.provider.clone(),
            server: node.server.id.clone(),
            name: node.name.clone(),
            marks,
            properties: image.properties.clone(),
        };
        let expects = Expects { server: Some(self.is_built(node, ServerStatus::Shutoff)), ..Expects::default() };
        Some(Action { act: Act::CreateImage(Box::new(create)), expects })
    }

    fn is_built(&self, node: &Node<'_>, status: ServerStatus) -> ServerExpects {
        let absent = |mark: Mark| (mark, MarkExpects::Absent);
        ServerExpects {
            provider: node.provider.clone(),
            id: node.server.id.clone(),
            controller: self.sight.desired.controller.id.clone(),
            status: Some(status),
            marks: BTreeMap::from([(Mark::Built, MarkExpects::Present), absent(Mark::Retire), absent(Mark::Failed)]),
        }
    }

    /// Only while its builder is there: then it is ours and nobody else's.
    fn seal(&self, node: &Node<'_>, image: &ImageId) -> Action {
        let marks = BTreeMap::from([(ImageMark::Itself, image.to_string())]);
        let act = Act::MarkImage { provider: node.provider.clone(), image: image.clone(), marks };
        let image = ImageExpects {
            provider: node.provider.clone(),
            id: image.clone(),
            controller: Some(self.sight.desired.controller.id.clone()),
            name: None,
            status: Some("active".to_owned()),
            protected: None,
            marks: BTreeMap::from([
                (ImageMark::Build, MarkExpects::Is(node.server.id.to_string())),
                (ImageMark::Itself, MarkExpects::Absent),
            ]),
        };
        let server = Some(self.is_built(node, node.server.status.clone()));
        Action { act, expects: Expects { server, image: Some(image), ..Expects::default() } }
    }

    /// With what Glance has of it that is not sealed: that would be nobody's once its builder is gone.
    fn down(&self, node: &Node<'_>, because: Because) -> Step {
        let mut chain = removal(self.sight, node, because)?;
        let mut deletions: Vec<Action> = Vec::new();
        for image in unsealed(node) {
            if image.protected {
                return Err(WaitsFor::Person(format!("its image {} is protected in Glance", image.name)));
            }
            deletions.push(delete_unsealed(&self.sight.desired.controller.id, node, image));
        }
        let at =
            chain.actions.iter().position(|action| matches!(action.act, Act::DeleteFloatingIp { .. } | Act::DeleteServer { .. }));
        let at = at.unwrap_or(chain.actions.len());
        chain.actions.splice(at..at, deletions);
        // Directly before the server goes its snapshot must be there, and be what nodes boot from.
        if let State::Snapshot(Stage::Sealed(image)) = &node.state {
            let controller = &self.sight.desired.controller.id;
            for action in chain.actions.iter_mut().filter(|action| matches!(action.act, Act::DeleteServer { .. })) {
                action.expects.image = Some(sealed(controller, &node.provider, image));
            }
        }
        Ok(Some(chain))
    }

    fn noted(&self, node: &Node<'_>) -> Option<Chain> {
        facts(self.sight, node)
    }

    /// The newest failed builder of an image in a provider stays as the mark of back-off and as the log; others go at once.
    fn failed(&self, node: &Node<'_>, because: Because) -> Step {
        if self.in_the_way.contains(&node.server.id) {
            let because = Because::RoomForTry { provider: node.provider.clone(), attempt: node.marks.attempt };
            return self.down(node, because);
        }
        let Some(waits) = self.kept_for(node) else { return self.down(node, because) };
        let mut actions = self.failure(node);
        let written = node.marks.failed.is_some() || !actions.is_empty();
        // That its image never became active stands in the times alone; all else is to be written before that image is gone.
        let lasts = written || matches!(node.state, State::Failed(FailedWhy::NotSaved { .. }));
        let going = unsealed(node).filter(|image| lasts && !image.protected);
        let controller = &self.sight.desired.controller.id;
        actions.extend(going.map(|image| delete_unsealed(controller, node, image)));
        if actions.is_empty() {
            return Err(waits);
        }
        let deletes = actions.iter().any(|action| matches!(action.act, Act::DeleteImage { .. }));
        let verb = if deletes { Verb::Retire } else { Verb::Mark };
        Ok(Some(Chain { subject: Subject::of(node), verb, because, times: Some(node.times()), actions }))
    }

    /// First sight failed: written down, and held where a person wants to look at it.
    fn failure(&self, node: &Node<'_>) -> Vec<Action> {
        let mut actions = self.noted(node).map(|chain| chain.actions).unwrap_or_default();
        let Some(keep) = &self.sight.observed.this_run.keep_failed else { return actions };
        let hold = Hold { who: keep.who.clone(), until: Some(keep.until), why: "failed builder, --keep-failed".to_owned() };
        for action in &mut actions {
            if let Act::SetMarks { marks: written, .. } = &mut action.act {
                written.insert(Mark::Hold, marks::fit(&hold.to_string()));
            }
        }
        actions
    }

    fn kept_for(&self, node: &Node<'_>) -> Option<WaitsFor> {
        let back_off = self.back_offs.get(&key_of(node)?)?;
        let image = node.image?;
        let due = self.due.contains(&(image.name.clone(), node.provider.clone()));
        back_off.keeps(node.server, due, self.sight.now)
    }
}

/// What Glance has of a builder that nodes do not boot from.
fn unsealed<'n, 'a>(node: &'n Node<'a>) -> impl Iterator<Item = &'a Image> + use<'n, 'a> {
    node.snapshots.iter().copied().filter(|image| image.mark(ImageMark::Itself).is_none())
}

fn step(node: &Node<'_>, step: UpStep, actions: Option<Vec<Action>>) -> Step {
    let actions = actions.ok_or_else(|| WaitsFor::Person("nobody knows how to reach it".to_owned()))?;
    let (subject, because) = (Subject::of(node), Because::Next(step));
    Ok(Some(Chain { subject, verb: Verb::Boot, because, times: Some(node.times()), actions }))
}
