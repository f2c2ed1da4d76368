//! What goes wrong in the world and when: how long things take, a server's fate, outages, refusals, kill points.

use std::collections::{BTreeMap, VecDeque};

use crate::names::{ImageName, PoolName};
use crate::observed::{Mark, Source};
use crate::world::ActErrorKind;

/// How long each thing takes, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// From the create call until ACTIVE or ERROR.
    pub build: u32,
    /// From ACTIVE until SSH answers.
    pub ssh: u32,
    /// A script, start to exit.
    pub script: u32,
    /// From an agent's start, or a lost connection, until it is online.
    pub agent: u32,
    /// From the delete call until Nova answers 404.
    pub delete: u32,
    /// From a machine's own power-off until Nova shows SHUTOFF: libvirt's event waits 15 s for a reboot to show itself, and
    /// without events Nova looks every ten minutes.
    pub off: u32,
    /// From the createImage call until the image is active.
    pub save: u32,
    /// A controller's restart: nothing is answered meanwhile.
    pub restart: u32,
    /// Each counted call: with 0, time goes on only by `tick`; else it is a function of the calls alone, however fast a client is.
    pub call: u32,
}

impl Default for Delays {
    fn default() -> Self {
        Self { build: 5, ssh: 8, script: 4, agent: 6, delete: 1, off: 3, save: 6, restart: 20, call: 0 }
    }
}

/// What becomes of a server. The default: all goes well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fate {
    pub build: BuildFate,
    /// ACTIVE without an address.
    pub no_address: bool,
    pub ssh: SshFate,
    /// Its host key never stands on the console.
    pub silent_console: bool,
    pub script: ScriptFate,
    pub agent: AgentFate,
    /// Told to power off, it stays on.
    pub never_off: bool,
    /// Of an image that is made of it.
    pub save: SaveFate,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BuildFate {
    #[default]
    Active,
    /// ERROR, with Nova's fault message.
    Error(String),
    /// BUILD for ever.
    Stuck,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SshFate {
    #[default]
    Answers,
    /// Connection refused, for ever.
    Never,
    /// A host key, but no user gets in.
    LoginRefused,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScriptFate {
    #[default]
    Passes,
    Exits {
        status: i32,
        output: String,
    },
    Hangs,
    /// The process goes without leaving a status.
    Vanishes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentFate {
    #[default]
    Connects,
    /// It runs and never comes online.
    NeverOnline,
    /// The process ends at once.
    Dies,
}

/// What becomes of a server that is saved as an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaveFate {
    #[default]
    Saved,
    /// `queued` for ever: the host that should save it is gone.
    NeverSaves,
    /// `saving` for ever: the host went in the middle.
    Stuck,
    /// `killed`, as older Glance leaves an upload that broke.
    Killed,
    /// Nova deletes what it cannot save.
    Fails,
}

/// Whether a dropped call was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    BeforeEffect,
    AfterEffect,
}

/// A call of the `World` that is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActFault {
    /// `Act::kind`.
    pub kind: &'static str,
    pub error: ActErrorKind,
    pub said: String,
    /// Carried out all the same: an answer that got lost.
    pub done: bool,
    pub times: u32,
}

/// A request over HTTP that is answered otherwise than asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFault {
    /// Part of `METHOD /path?query`.
    pub of: String,
    pub answer: HttpFaultAnswer,
    pub times: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFaultAnswer {
    /// The connection is closed without an answer.
    Drop(Drop),
    /// This status, these headers, this body; nothing is done.
    Say { status: u16, headers: Vec<(String, String)>, body: String },
    /// Half of the true answer's body under its whole Content-Length.
    Half,
}

#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// A service that answers nothing, and what a client sees instead.
    pub outages: BTreeMap<Source, String>,
    /// Of the next servers, in the order of their creation.
    pub next_fates: VecDeque<Fate>,
    /// Of all further servers that carry the pool's mark.
    pub pool_fates: BTreeMap<PoolName, Fate>,
    /// Of all further builders of an image.
    pub image_fates: BTreeMap<ImageName, Fate>,
    pub act: Vec<ActFault>,
    /// What is uploaded is not what arrives.
    pub damages_uploads: bool,
    pub http: Vec<HttpFault>,
    /// Every counted call in words, from the time on that somebody wants them kept.
    pub record: Option<Vec<String>>,
    stop: Option<(Stop, Drop)>,
    /// From a stop on, connections stay open and no answer ever comes: a client is held in the middle of its call.
    pub silent: bool,
    /// The call that the stop came at.
    stopped_at: Option<String>,
    /// Calls over HTTP that were admitted and have not had their effect yet.
    pub(super) answering: u32,
    calls: u64,
}

/// Which call a stop comes at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Of all that were ever counted.
    Number(u64),
    /// The first one from now on, after so many others, whose words (without a query) begin and end so.
    Like { begins: &'static str, ends: &'static str, after: u64 },
}

impl Stop {
    fn is_now(&mut self, number: u64, call: &str) -> bool {
        match self {
            Self::Number(at) => *at == number,
            Self::Like { begins, ends, after } => {
                let call = call.split('?').next().unwrap_or(call);
                let fits = call.starts_with(*begins) && call.ends_with(*ends);
                let now = fits && *after == 0;
                *after -= u64::from(fits && !now);
                now
            }
        }
    }
}

impl Faults {
    /// How many calls were counted: acts of the `World`, requests over HTTP, connections and commands over SSH.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// This call and all that follow are dropped, until `resume`.
    pub fn stop_at(&mut self, stop: Stop, drop: Drop) {
        self.stop = Some((stop, drop));
    }

    pub fn stopped(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// The call that the stop came at, in words.
    pub fn stopped_at(&self) -> Option<&str> {
        self.stopped_at.as_deref()
    }

    pub fn resume(&mut self) {
        self.stop = None;
        self.stopped_at = None;
    }

    /// Counts a call. Some: it is dropped.
    pub(super) fn admit(&mut self, call: &str) -> Option<Drop> {
        if self.stopped() {
            return Some(Drop::BeforeEffect);
        }
        self.calls += 1;
        if let Some(record) = &mut self.record {
            record.push(call.to_owned());
        }
        let (stop, drop) = self.stop.as_mut()?;
        if !stop.is_now(self.calls, call) {
            return None;
        }
        self.stopped_at = Some(call.to_owned());
        Some(*drop)
    }

    pub(super) fn act_fault(&mut self, kind: &str) -> Option<ActFault> {
        let fault = self.act.iter_mut().find(|fault| fault.kind == kind && fault.times > 0)?;
        fault.times -= 1;
        Some(fault.clone())
    }

    pub(super) fn http_fault(&mut self, request: &str) -> Option<HttpFaultAnswer> {
        let fault = self.http.iter_mut().find(|fault| fault.times > 0 && request.contains(&fault.of))?;
        fault.times -= 1;
        Some(fault.answer.clone())
    }

    /// Of a server with these marks.
    pub(super) fn fate(&mut self, marks: &BTreeMap<String, String>) -> Fate {
        let marked = |mark: Mark| marks.get(mark.key()).map(String::as_str);
        let of_pool = marked(Mark::Pool).and_then(|pool| self.pool_fates.get(pool)).cloned();
        let of_image = marked(Mark::Image).and_then(|image| self.image_fates.get(image)).cloned();
        self.next_fates.pop_front().or(of_pool).or(of_image).unwrap_or_default()
    }
}
