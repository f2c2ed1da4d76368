//! Flags, environment and clock, read once. Nothing else reads them.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::cli::Global;
use crate::live::openstack::CloudsEnv;
use crate::report::style::Style;

/// What a command needs of its surroundings.
#[derive(Debug)]
pub struct Settings {
    pub desired_state: PathBuf,
    pub verbose: u8,
    /// Of standard output: results.
    pub style: Style,
    /// Of standard error: talk.
    pub talk: Style,
    /// A person can answer: standard input and output are terminals.
    pub terminal: bool,
    /// Standard error is a terminal: errors are folded to its width.
    pub folds: bool,
    /// Something may turn while a person waits: both outputs are a terminal that can, and no log runs through it.
    pub lively: bool,
    pub env: Environment,
}

/// The variables that poolkeeper looks at. Values may be secrets: none is ever printed.
#[derive(Clone, Default)]
pub struct Environment {
    pub home: Option<PathBuf>,
    pub xdg_cache_home: Option<PathBuf>,
    /// Set by systemd's `LoadCredential=`.
    pub credentials_directory: Option<PathBuf>,
    /// Set by systemd's `CacheDirectory=`.
    pub cache_directory: Option<PathBuf>,
    /// `OS_*`, and where clouds.yaml is looked for.
    pub clouds: CloudsEnv,
    /// Those that begin with `NODEPOOL_`: passed to scripts.
    pub nodepool: BTreeMap<String, String>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Environment")
    }
}

impl Settings {
    pub fn read(global: &Global) -> Self {
        let vars = variables();
        let stdout = std::io::stdout().is_terminal();
        let colour = |terminal: bool| terminal && vars.get("NO_COLOR").is_none_or(String::is_empty);
        let stderr = std::io::stderr().is_terminal();
        let dumb = vars.get("TERM").is_none_or(|term| term == "dumb");
        let terminal = stdout && std::io::stdin().is_terminal();
        let screen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let told = vars.get("COLUMNS").and_then(|columns| columns.parse().ok());
        let width = told.or_else(screen).unwrap_or(Style::WIDTH).max(Style::NARROWEST);
        Self {
            desired_state: global.desired_state.clone(),
            verbose: global.verbose,
            style: Style { colour: colour(stdout), width, fit: stdout || told.is_some(), json: false },
            talk: Style { colour: colour(stderr), width, fit: stderr || told.is_some(), json: false },
            terminal,
            folds: stderr,
            lively: stdout && stderr && !dumb && global.verbose == 0,
            // A timer must not read a file that lies about.
            env: Environment::of(&vars, terminal.then(|| ".".into())),
        }
    }
}

impl Environment {
    fn of(vars: &BTreeMap<String, String>, current_dir: Option<PathBuf>) -> Self {
        let path = |name: &str| vars.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let starting = |prefix: &str| {
            let chosen = vars.iter().filter(|(name, _)| name.starts_with(prefix));
            chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        Self {
            home: path("HOME"),
            xdg_cache_home: path("XDG_CACHE_HOME"),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
            cache_directory: path("CACHE_DIRECTORY"),
            clouds: CloudsEnv::new(vars, current_dir),
            nodepool: starting("NODEPOOL_"),
        }
    }

    /// Where tokens are kept between runs; none: nowhere.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let user = self.xdg_cache_home.clone().or_else(|| Some(self.home.as_ref()?.join(".cache")));
        self.cache_directory.clone().or_else(|| Some(user?.join("poolkeeper")))
    }
}

/// The environment, but for variables that are not UTF-8: none of ours is.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// The clock of runs and reports.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
