//! Our marks in a server's metadata: what each key is called and what its value says. docs/architecture.md has the table.

use std::fmt;

use jiff::Timestamp;

use super::{HostKey, Metadata};
use crate::names::{ControllerId, ImageId, ImageName, PoolName, TargetName, Text};

macro_rules! marks {
    ($(#[$of:meta])* $Mark:ident { $($(#[$doc:meta])* $name:ident = $key:literal),+ $(,)? }) => {
        $(#[$of])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Mark { $($(#[$doc])* $name),+ }

        impl $Mark {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            pub fn key(self) -> &'static str {
                match self { $(Self::$name => $key),+ }
            }

            pub fn of_key(key: &str) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $Mark {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.key())
            }
        }

        impl serde::Serialize for $Mark {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.key())
            }
        }
    };
}

marks! {
    /// A metadata key of ours, on a server.
    Mark {
        /// The deployment's id: ownership is by this value, not by the key.
        Controller = "poolkeeper_controller",
        Role = "poolkeeper_role",
        Pool = "poolkeeper_pool",
        Image = "poolkeeper_image",
        Target = "poolkeeper_target",
        /// The id of the image that it was made from.
        Base = "poolkeeper_base",
        /// 1 + the try of the newest failed machine of the same pool and provider.
        Try = "poolkeeper_try",
        /// A digest of each input that it was made from.
        Spec = "poolkeeper_spec",
        /// The public host key, pinned before anything is sent over SSH.
        Hostkey = "poolkeeper_hostkey",
        /// `joining <time>` before each registration, `joined` at the first sight online.
        Agent = "poolkeeper_agent",
        /// First sight busy: time and the controller's session.
        Busy = "poolkeeper_busy",
        /// Decided used: time and by what. Believed over Jenkins, which forgets its marks.
        Used = "poolkeeper_used",
        /// First sight lost.
        Lost = "poolkeeper_lost",
        /// First sight failed: time and why.
        Failed = "poolkeeper_failed",
        /// A builder whose setup script exited 0.
        Built = "poolkeeper_built",
        /// Before the first step of removal: from then on the machine only goes down.
        Retire = "poolkeeper_retire",
        /// A person keeps it: who; until; why.
        Hold = "poolkeeper_hold",
    }
}

marks! {
    /// A property of ours, on an image. A server's snapshot inherits its base's properties, a person's too: whose it is stands
    /// in `Itself`, which nothing passes on rightly.
    ImageMark {
        /// The deployment's id.
        Controller = "poolkeeper_controller",
        /// The image's name in the desired state.
        Image = "poolkeeper_image",
        /// The id of the image that its builder was made from.
        Base = "poolkeeper_base",
        /// The id of its builder.
        Build = "poolkeeper_build",
        /// A digest of each input that it was made from.
        Spec = "poolkeeper_spec",
        /// Its own id, written once it is active: from then on nodes boot from it.
        Itself = "poolkeeper_self",
        /// Not to boot from: time and why.
        Bad = "poolkeeper_bad",
        /// When it was last tried to delete it: Glance may keep one that is in use.
        Going = "poolkeeper_going",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Node,
    Builder,
    Debug,
    /// Ours, but of a role that this version does not know: lost.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentMark {
    Joining(Timestamp),
    Joined,
}

/// A time and a word or text, as several marks have it: `<time> <text>`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dated {
    pub at: Timestamp,
    pub text: String,
}

impl Dated {
    fn parse(value: &str) -> Option<Self> {
        let (at, text) = value.split_once(' ').unwrap_or((value, ""));
        Some(Self { at: at.parse().ok()?, text: text.to_owned() })
    }
}

/// `<who>; <until or ->; <why>`: docs/cli.md has it for who writes one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hold {
    pub who: String,
    pub until: Option<Timestamp>,
    pub why: String,
}

impl Hold {
    fn parse(value: &str) -> Self {
        let mut parts = value.splitn(3, "; ");
        let who = parts.next().unwrap_or_default().to_owned();
        let until = parts.next().and_then(|until| until.parse().ok());
        Self { who, until, why: parts.next().unwrap_or_default().to_owned() }
    }

    /// Whose it is, and what for where that is said.
    pub fn words(&self) -> String {
        let Self { who, until: _, why } = self;
        let who = if who.trim().is_empty() { "somebody" } else { who.as_str() };
        if why.trim().is_empty() { who.to_owned() } else { format!("{who}: {why}") }
    }

    pub fn expired(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, until, why } = self;
        let until = until.map_or_else(|| "-".to_owned(), |until| seconds(until).to_string());
        write!(out, "{who}; {until}; {why}")
    }
}

/// The marks of a server of ours, read. A value that cannot be read stands as if a careful person had written it: a broken
/// time is the oldest possible one only where that keeps the machine; see each field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Marks {
    pub role: Role,
    pub pool: Option<PoolName>,
    pub image: Option<ImageName>,
    pub target: Option<TargetName>,
    pub base: Option<ImageId>,
    /// 1 where it cannot be read.
    pub attempt: u32,
    pub spec: Option<Text>,
    pub hostkey: Option<HostKey>,
    pub agent: Option<AgentMark>,
    /// Few have one: boxed, as those below.
    pub busy: Option<Box<Dated>>,
    pub used: Option<Box<Dated>>,
    pub lost: Option<Timestamp>,
    pub failed: Option<Box<Dated>>,
    /// When its setup script was seen to have passed.
    pub built: Option<Timestamp>,
    pub retire: Option<Text>,
    pub hold: Option<Box<Hold>>,
}

impl Marks {
    /// The marks of a server of `controller`; none when the metadata is not ours by value.
    pub fn read(metadata: &Metadata, controller: &ControllerId) -> Option<Self> {
        if metadata.mark(Mark::Controller).map(Text::as_str) != Some(controller.as_str()) {
            return None;
        }
        // One walk along the metadata in place of a search for each mark.
        let mut values: [Option<&Text>; Mark::ALL.len()] = [None; Mark::ALL.len()];
        for (mark, text) in metadata.marks() {
            if let Some(place) = values.get_mut(*mark as usize) {
                *place = Some(text);
            }
        }
        let shared = |mark: Mark| values.get(mark as usize).copied().flatten();
        let value = |mark: Mark| shared(mark).map(Text::as_str);
        // A time that cannot be read counts from the epoch for marks that only ever take a node down (used, failed), and
        // for those with a grace (lost, joining) the same: the mark itself is what a run of ours meant to write.
        let dated = |mark: Mark| {
            value(mark)
                .map(|text| Dated::parse(text).unwrap_or_else(|| Dated { at: Timestamp::UNIX_EPOCH, text: text.to_owned() }))
        };
        let role = match value(Mark::Role) {
            Some("node") => Role::Node,
            Some("builder") => Role::Builder,
            Some("debug") => Role::Debug,
            other => Role::Unknown(other.unwrap_or_default().to_owned()),
        };
        let agent = value(Mark::Agent).map(|text| match text.strip_prefix("joining") {
            Some(at) => AgentMark::Joining(at.trim().parse().unwrap_or(Timestamp::UNIX_EPOCH)),
            None => AgentMark::Joined,
        });
        Some(Self {
            role,
            pool: shared(Mark::Pool).map(|text| PoolName::new(text.clone())),
            image: shared(Mark::Image).map(|text| ImageName::new(text.clone())),
            target: shared(Mark::Target).map(|text| TargetName::new(text.clone())),
            base: shared(Mark::Base).map(|text| ImageId::new(text.clone())),
            attempt: value(Mark::Try).and_then(|text| text.parse().ok()).unwrap_or(1),
            spec: shared(Mark::Spec).cloned(),
            hostkey: shared(Mark::Hostkey).and_then(HostKey::of_mark),
            agent,
            busy: dated(Mark::Busy).map(Box::new),
            used: dated(Mark::Used).map(Box::new),
            lost: dated(Mark::Lost).map(|dated| dated.at),
            failed: dated(Mark::Failed).map(Box::new),
            built: dated(Mark::Built).map(|dated| dated.at),
            retire: shared(Mark::Retire).cloned(),
            hold: value(Mark::Hold).map(Hold::parse).map(Box::new),
        })
    }
}

/// `<time> <text>`, to the second, cut to what Nova takes.
pub fn dated(at: Timestamp, text: &str) -> String {
    fit(&format!("{} {text}", seconds(at)))
}

/// `joining <time>`.
pub fn joining(at: Timestamp) -> String {
    format!("joining {}", seconds(at))
}

/// A time without its fraction: marks are read by people too.
pub fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Nova's limit for a metadata value, in characters.
pub const MAX_VALUE: usize = 255;

/// Cut at a character to what Nova takes, control characters as spaces.
pub fn fit(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_VALUE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Option<Marks> {
        let metadata = pairs.iter().copied().collect();
        Marks::read(&metadata, &ControllerId::from("contint"))
    }

    #[test]
    fn ownership_is_by_value() {
        assert_eq!(read(&[("poolkeeper_controller", "other"), ("poolkeeper_role", "node")]), None);
        assert_eq!(read(&[("poolkeeper_role", "node")]), None);
        assert!(read(&[("poolkeeper_controller", "contint")]).is_some());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let at: Timestamp = "2026-11-25T10:00:00.5Z".parse().expect("a time");
        let whole = seconds(at);
        let marks = read(&[
            ("poolkeeper_controller", "contint"),
            ("poolkeeper_role", "node"),
            ("poolkeeper_agent", &joining(at)),
            ("poolkeeper_used", &dated(at, "build")),
            ("poolkeeper_hold", "alice; 2026-11-25T12:00:00Z; T143938; look"),
        ])
        .expect("ours");
        assert_eq!(marks.agent, Some(AgentMark::Joining(whole)));
        assert_eq!(marks.used.as_deref(), Some(&Dated { at: whole, text: "build".into() }));
        assert_eq!(marks.hold.as_ref().map(|hold| hold.why.as_str()), Some("T143938; look"));
        assert!(marks.hold.is_some_and(|hold| !hold.expired(at)));
    }

    #[test]
    fn a_broken_hold_still_holds() {
        let marks = read(&[("poolkeeper_controller", "contint"), ("poolkeeper_hold", "???")]).expect("ours");
        assert!(marks.hold.is_some_and(|hold| !hold.expired(Timestamp::MAX)));
    }

    #[test]
    fn values_fit_nova() {
        assert_eq!(fit(&"é".repeat(300)).chars().count(), MAX_VALUE);
        assert_eq!(fit("two\nlines"), "two lines");
    }
}
