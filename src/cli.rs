//! The command line, as clap reads it. No behaviour.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::desired::units;

/// Keeps pools of disposable CI nodes filled on OpenStack and Jenkins
///
/// Reads the desired pools from a directory, looks at the cloud and at Jenkins, says what it would change and why, and
/// changes it. There is no daemon and no database: a timer runs `apply`, and you can run the same by hand.
#[derive(Debug, Parser)]
#[command(name = "poolkeeper", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The process's own arguments. Help, version and mistakes end the process here, mistakes with 2.
    pub fn read() -> Self {
        Self::parse()
    }

    /// Whether this build has a command of that name: a screen names no other.
    pub fn has_command(name: &str) -> bool {
        Self::command().find_subcommand(name).is_some()
    }
}

#[derive(Debug, Args)]
pub struct Global {
    /// The directory with controller.yaml, pools/ and images/
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "POOLKEEPER_DESIRED_STATE",
        default_value = "/etc/poolkeeper/desired-state"
    )]
    pub desired_state: PathBuf,
    /// More: -v reasons, -vv every HTTP request and answer (secrets hidden)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the desired state's files alone, without a network
    Validate,
    /// Print what is there, as JSON
    Observe,
    /// Say what apply would do and why, and do nothing
    Plan(PlanArgs),
    /// Plan, then carry it out
    Apply(ApplyArgs),
    /// List every node
    List(ListArgs),
    /// Say how providers, targets and pools stand
    Status(StatusArgs),
    /// Say what is seen of a node, which rule makes its state, and what comes next
    Explain(ExplainArgs),
    /// Build, list and judge snapshots; publish and save images
    #[command(subcommand)]
    Image(ImageCommand),
    /// As nodepool's: `image list`
    #[command(hide = true)]
    ImageList(ListArgs),
    /// As nodepool's: `image update --wait`
    #[command(hide = true)]
    ImageUpdate(NodepoolUpdateArgs),
    /// As nodepool's: `image delete`
    #[command(hide = true)]
    ImageDelete(DeleteImageArgs),
    /// Show plan, apply and list on an embedded cloud and Jenkins
    #[cfg(feature = "sandbox")]
    Demo,
    /// Serve an embedded cloud and Jenkins to try commands on, until interrupted
    #[cfg(feature = "sandbox")]
    Sandbox(SandboxArgs),
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Text for people, JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Exit with 4 when there is something to do
    #[arg(long)]
    pub exit_code: bool,
    /// As the same flag of apply
    #[arg(long, value_name = "N")]
    pub allow_deletes: Option<u32>,
    /// As the same flag of apply
    #[arg(long, value_name = "N")]
    pub allow_offline: Option<u32>,
    /// Only this pool; may be given several times
    #[arg(long, value_name = "POOL")]
    pub pool: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Do not ask; needed where there is no terminal
    #[arg(long)]
    pub yes: bool,
    /// Begin nothing after this time
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = units::duration)]
    pub deadline: SignedDuration,
    /// Go on until only time, a person or an unseen service can change anything; no deadline
    #[arg(long, conflicts_with = "deadline")]
    pub until_converged: bool,
    /// Lift `max-deletes-per-run` for this run, up to so many healthy nodes
    #[arg(long, value_name = "N")]
    pub allow_deletes: Option<u32>,
    /// Lift `mass-offline` for this run, up to so many agents
    #[arg(long, value_name = "N")]
    pub allow_offline: Option<u32>,
    /// Hold builders whose setup fails in this run for so long, for a look at them
    #[arg(long, value_name = "TIME", value_parser = units::duration, num_args = 0..=1, default_missing_value = "4h")]
    pub keep_failed: Option<SignedDuration>,
    /// How long to wait for another run's lock
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub lock_timeout: SignedDuration,
    /// Only this pool; may be given several times
    #[arg(long, value_name = "POOL")]
    pub pool: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Text for people, JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Text for people, JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Its name, its server's id, or the beginning of one of them
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Text for people, JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List every snapshot, and how each image stands
    List(ListArgs),
    /// Build a snapshot now, whatever its age
    Update(UpdateArgs),
    /// Call a snapshot bad: nodes boot from the one before it
    Delete(DeleteImageArgs),
    /// Keep a snapshot: nothing deletes it
    Pin(SnapshotArgs),
    /// Let a snapshot go its way again
    Unpin(SnapshotArgs),
    /// Print what the setup script of an image's newest builder has said
    Log(LogArgs),
    /// Upload a file as an image; the one that had its name becomes `NAME_old_DATE`
    Publish(PublishArgs),
    /// Download an image's data into a file
    Save(SaveArgs),
    /// Make a base image with diskimage-builder and publish it
    Build(BuildArgs),
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// An image of the desired state
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Only in this provider; left out: in each that the image names
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Until nodes boot from it, or its build failed
    #[arg(long)]
    pub wait: bool,
    /// How long to wait for another run's lock
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = units::duration)]
    pub lock_timeout: SignedDuration,
}

#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Its name in Glance, its id, or the beginning of one of them
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,
    /// How long to wait for another run's lock
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = units::duration)]
    pub lock_timeout: SignedDuration,
}

#[derive(Debug, Args)]
pub struct DeleteImageArgs {
    #[command(flatten)]
    pub which: SnapshotArgs,
    /// Delete it at once, not only when a newer good one is there
    #[arg(long)]
    pub now: bool,
}

#[derive(Debug, Args)]
pub struct LogArgs {
    /// An image of the desired state
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Only of a builder in this provider
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
}

/// In the words of nodepool: the image is built, and waited for
#[derive(Debug, Args)]
pub struct NodepoolUpdateArgs {
    /// The provider
    #[arg(value_name = "PROVIDER")]
    pub provider: String,
    /// An image of the desired state
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    /// A disk's image: qcow2, raw, vmdk, ...
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The image's name, as `base-image` or `glance` of a pool say it
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub upload: UploadArgs,
}

/// How a file becomes an image.
#[derive(Debug, Clone, Args)]
pub struct UploadArgs {
    /// The provider to upload to; needed where there are several (build: else all of the image)
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Glance's word for what the file is; by default its own first bytes tell
    #[arg(long, value_name = "FORMAT")]
    pub disk_format: Option<String>,
    /// Glance's word for what is around it
    #[arg(long, value_name = "FORMAT", default_value = "bare")]
    pub container_format: String,
    /// A node's disk has at least so many GiB
    #[arg(long, value_name = "GIB", default_value_t = 0)]
    pub min_disk: u64,
    /// A node has at least so many MiB of memory
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub min_ram: u64,
    /// A property of the image; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = property)]
    pub property: Vec<(String, String)>,
    /// How long to wait for a run's lock, once the data is up
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = units::duration)]
    pub lock_timeout: SignedDuration,
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, _)) if key.starts_with("poolkeeper_") => Err("properties that begin so are poolkeeper's own".to_owned()),
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("it is KEY=VALUE".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The image of the desired state whose `diskimage` says what to make its `base-image` from
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What is made: diskimage-builder's word for it
    #[arg(long = "type", value_name = "TYPE", default_value = "qcow2")]
    pub kind: String,
    /// Where the file is made; it stays
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Make the file alone
    #[arg(long)]
    pub no_publish: bool,
    #[command(flatten)]
    pub upload: UploadArgs,
}

#[derive(Debug, Args)]
pub struct SaveArgs {
    /// The newest active image of that name, or the one with that id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Written beside it, and renamed when it is whole
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The provider to download from; needed where there are several
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where its clouds.yaml, keys and desired state are written
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Which Jenkins it plays: hudson-3.3.2, 1.651.2, 2.46.1, 2.462.3 or 2.568.2
    #[arg(long, value_name = "VERSION", default_value = "2.462.3")]
    pub jenkins: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}
