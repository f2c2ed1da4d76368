//! From the command line to the command: what each needs is made here, and nothing else.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::signals::{Answer, Signals};
use super::{apply, explain, image, list, observe, plan, status, validate};
use crate::cli::{ApplyArgs, Cli, Command, ImageCommand, ListArgs, SnapshotArgs};
use crate::desired::{Desired, faults};
use crate::exit;
use crate::live::http::Patience;
use crate::live::openstack;
use crate::live::{Live, Surroundings};
use crate::load::{LoadEnv, LoadError, load};
use crate::settings::{Settings, now};

/// How much longer than the run's deadline a call in flight may take: what was begun is better finished than cut, and the
/// unit's `TimeoutStartSec` leaves room for it.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Runs a command; its exit code.
pub fn dispatch(cli: &Cli, settings: &Settings) -> anyhow::Result<u8> {
    let (mut out, mut talk) = (io::stdout(), io::stderr());
    match &cli.command {
        Command::Validate => validate::validate(&settings.desired_state, &load_env(settings), &mut out),
        Command::Observe => {
            with_desired(settings, |desired| observe::observe(desired, &live(desired, settings, Timing::default()), &mut out))
        }
        Command::Plan(args) => with_desired(settings, |desired| {
            let desired = &lifted(desired, args.allow_deletes, args.allow_offline);
            plan::plan(args, settings, desired, &live(desired, settings, Timing::default()), &mut out)
        }),
        Command::List(args) => with_desired(settings, |desired| {
            list::list(args, settings, desired, &live(desired, settings, Timing::default()), &mut out, &mut talk)
        }),
        Command::Status(args) => with_desired(settings, |desired| {
            status::show(args, desired, &live(desired, settings, Timing::default()), &now, settings.style, &mut out)
        }),
        Command::Explain(args) => with_desired(settings, |desired| {
            explain::show(args, desired, &live(desired, settings, Timing::default()), &now, settings.style, &mut out)
        }),
        Command::Apply(args) => {
            with_desired(settings, |desired| applied(args, settings, &lifted(desired, args.allow_deletes, args.allow_offline)))
        }
        Command::Image(command) => with_desired(settings, |desired| images(command, settings, desired)),
        Command::ImageList(args) => {
            with_desired(settings, |desired| images(&ImageCommand::List(ListArgs { format: args.format }), settings, desired))
        }
        Command::ImageUpdate(args) => with_desired(settings, |desired| {
            let lock_timeout = SignedDuration::from_mins(1);
            let (image, provider) = (args.image.as_str(), Some(args.provider.as_str()));
            updated(&image::update::Wanted { image, provider, wait: true, lock_timeout }, settings, desired)
        }),
        Command::ImageDelete(args) => with_desired(settings, |desired| {
            let change = image::change::Change::Delete { now: args.now };
            changed(&args.which, change, settings, desired)
        }),
        #[cfg(feature = "sandbox")]
        Command::Demo => {
            let exe = std::env::current_exe().context("finding poolkeeper's own program")?;
            super::demo::demo(&mut out, &exe, settings.style.width)?;
            Ok(exit::DONE)
        }
        #[cfg(feature = "sandbox")]
        Command::Sandbox(args) => {
            super::sandbox::sandbox(&mut out, &args.dir, &args.jenkins)?;
            Ok(exit::DONE)
        }
    }
}

fn images(command: &ImageCommand, settings: &Settings, desired: &Desired) -> anyhow::Result<u8> {
    let (mut out, mut talk) = (io::stdout(), io::stderr());
    let with = |work: &mut dyn FnMut(image::At<'_>) -> anyhow::Result<u8>| {
        let live = live(desired, settings, Timing::default());
        work(image::At { desired, live: &live, lively: settings.lively })
    };
    match command {
        ImageCommand::List(args) => with(&mut |at| image::list::list(args.format, settings, at, &mut out, &mut talk)),
        ImageCommand::Update(args) => {
            let (image, provider) = (args.image.as_str(), args.provider.as_deref());
            let wanted = image::update::Wanted { image, provider, wait: args.wait, lock_timeout: args.lock_timeout };
            updated(&wanted, settings, desired)
        }
        ImageCommand::Delete(args) => changed(&args.which, image::change::Change::Delete { now: args.now }, settings, desired),
        ImageCommand::Pin(args) => changed(args, image::change::Change::Pin, settings, desired),
        ImageCommand::Unpin(args) => changed(args, image::change::Change::Unpin, settings, desired),
        ImageCommand::Log(args) => with(&mut |at| image::log::log(&args.image, args.provider.as_deref(), at, &mut out)),
        ImageCommand::Publish(args) => {
            with(&mut |at| image::publish::publish(&args.file, &args.name, &args.upload, at, &mut out))
        }
        ImageCommand::Save(args) => with(&mut |at| image::save::save(args, at, &mut out)),
        ImageCommand::Build(args) => with(&mut |at| image::build::build(args, &settings.desired_state, at, &mut out)),
    }
}

fn changed(args: &SnapshotArgs, change: image::change::Change, settings: &Settings, desired: &Desired) -> anyhow::Result<u8> {
    let live = live(desired, settings, Timing::default());
    let at = image::At { desired, live: &live, lively: settings.lively };
    image::change::change(&args.snapshot, change, args.lock_timeout, settings, at, &mut io::stdout())
}

fn updated(wanted: &image::update::Wanted<'_>, settings: &Settings, desired: &Desired) -> anyhow::Result<u8> {
    let stopped = Signals::watch().context("watching for signals")?.stopped();
    let live = live(desired, settings, Timing { deadline: None, stopped: Arc::clone(&stopped) });
    let at = image::At { desired, live: &live, lively: settings.lively };
    image::update::update(wanted, settings, at, &stopped, &mut io::stdout())
}

/// With the limits that the command line lifts for this run.
fn lifted(desired: &Desired, deletes: Option<u32>, offline: Option<u32>) -> Desired {
    let mut desired = desired.clone();
    desired.controller.limits.allow_deletes = deletes;
    desired.controller.limits.allow_offline = offline;
    desired
}

/// Loads the desired state; its faults are said on standard error, and nothing is looked at or done.
fn with_desired(settings: &Settings, work: impl FnOnce(&Desired) -> anyhow::Result<u8>) -> anyhow::Result<u8> {
    match load(&settings.desired_state, &load_env(settings)) {
        Ok(loaded) => {
            let dir = settings.desired_state.display().to_string();
            if !loaded.warnings.is_empty() {
                io::stderr().write_all(faults::render(&dir, &loaded.warnings, settings.talk.colour).as_bytes())?;
            }
            work(&loaded.desired)
        }
        Err(LoadError::Faults { dir, faults }) => {
            io::stderr().write_all(faults::render(&dir, &faults, settings.talk.colour).as_bytes())?;
            Ok(exit::BAD_DESIRED_STATE)
        }
        Err(error @ LoadError::Io { .. }) => Err(error.into()),
    }
}

fn applied(args: &ApplyArgs, settings: &Settings, desired: &Desired) -> anyhow::Result<u8> {
    let signals = Signals::watch().context("watching for signals")?;
    let stopped = signals.stopped();
    let timing = Timing {
        deadline: if args.until_converged { None } else { now().checked_add(args.deadline + GRACE).ok() },
        stopped: Arc::clone(&stopped),
    };
    let world = live(desired, settings, timing);
    let mut out = io::stdout();
    let answer = |ask: &mut dyn FnMut()| signals.answer(ask);
    let console = apply::Console {
        out: &mut out,
        answer: settings.terminal.then_some(&answer as Answer<'_>),
        stopped: &stopped,
        calls: &|| world.calls(),
    };
    apply::apply(args, settings, desired, &world, console)
}

/// How long calls may take and when their retries are given up.
#[derive(Default)]
struct Timing {
    deadline: Option<Timestamp>,
    stopped: Arc<AtomicBool>,
}

fn live(desired: &Desired, settings: &Settings, timing: Timing) -> Live {
    let Timing { deadline, stopped } = timing;
    let left = move || {
        let left = deadline.map(|deadline| deadline.duration_since(now()));
        left.map_or(Duration::MAX, |left| Duration::try_from(left).unwrap_or(Duration::ZERO))
    };
    let pause = move |time: Duration| {
        if !stopped.load(Ordering::Relaxed) {
            crate::run::sleep(SignedDuration::try_from(time).unwrap_or(SignedDuration::ZERO));
        }
    };
    let patience = Patience { pause: Arc::new(pause), left: Arc::new(left) };
    let nodepool = settings.env.nodepool.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone())));
    let openstack = openstack::Surroundings {
        env: settings.env.clouds.clone(),
        cache_dir: settings.env.cache_dir(),
        patience,
        clock: Arc::new(now),
    };
    Live::new(desired, Surroundings { openstack, nodepool: nodepool.collect() })
}

fn load_env(settings: &Settings) -> LoadEnv {
    LoadEnv { credentials_dir: settings.env.credentials_directory.clone() }
}
