//! What a client is made of, and how it waits.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How a client waits, and how much time its run has left: the run's, so that nothing here sleeps or reads a clock.
#[derive(Clone)]
pub struct Patience {
    /// Waits; may come back early when the run is to end.
    pub pause: Arc<dyn Fn(Duration) + Send + Sync>,
    /// Until the run's deadline. A call gets no longer than this.
    pub left: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Patience {
    /// No deadline and no pauses: for commands by hand and tests.
    pub fn endless() -> Self {
        Self { pause: Arc::new(|_| {}), left: Arc::new(|| Duration::MAX) }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Patience")
    }
}

/// What a client is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The service's own URL: a loopback one is never asked through a proxy.
    pub base: String,
    /// Of one call, from connecting to the last byte.
    pub timeout: Duration,
    /// False: any certificate is taken.
    pub verify: bool,
    /// PEM file of the authorities that are trusted in place of the system's.
    pub cacert: Option<PathBuf>,
    /// PEM files of a client certificate and of its key (the same file where none is given).
    pub client_cert: Option<(PathBuf, Option<PathBuf>)>,
    pub patience: Patience,
}

impl Options {
    pub fn new(base: &str, timeout: Duration, patience: Patience) -> Self {
        Self { base: base.to_owned(), timeout, verify: true, cacert: None, client_cert: None, patience }
    }
}
