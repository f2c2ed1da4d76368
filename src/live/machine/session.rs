//! The one door to ssh2: one connection, one command. Decides nothing but whether the host key is the pinned one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use ssh2::{ErrorCode, ExtendedData, MethodType};

use super::host_key;
use crate::observed::HostKey;

/// libssh2's code for a private key that it cannot read.
const ERROR_FILE: ErrorCode = ErrorCode::Session(-16);
/// libssh2's codes for a key that the server does not take. The second one stands for a lost connection too, with a text
/// that begins with `Waiting for`.
const REFUSED: [ErrorCode; 2] = [ErrorCode::Session(-18), ErrorCode::Session(-19)];

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSession {
    /// Nobody answers, or not in time, or not in SSH.
    NoSsh(String),
    /// Another host key than the pinned one: nothing was sent.
    OtherKey(HostKey),
    /// The machine does not let this user in.
    LoginRefused(HostKey, String),
    /// Our own private key cannot be used.
    PrivateKey(String),
}

/// A command's merged stdout and stderr, and its exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub text: String,
    pub status: i32,
}

/// A connection with a checked host key and a user who is logged in. It ends, whatever it does, when its time is over.
pub struct Session {
    pub key: HostKey,
    // Before the guard: its drop talks to the machine and needs the guard's end.
    inner: ssh2::Session,
    guard: Guard,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Session({})", self.key)
    }
}

/// Where to connect to, as whom.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    pub host: &'a str,
    pub port: u16,
    pub username: &'a str,
    /// OpenSSH or PEM, without a passphrase.
    pub private_key: &'a SecretString,
    pub pinned: Option<&'a HostKey>,
}

impl Session {
    /// Connects, checks the host key, logs in; `limit` is for all of it and for the command that follows.
    pub fn open(peer: Peer<'_>, limit: Duration) -> Result<Self, NoSession> {
        let no_ssh = |error: &dyn std::fmt::Display| NoSession::NoSsh(error.to_string());
        let guard = Guard::new(limit);
        let stream = connect(peer.host, peer.port, limit).map_err(NoSession::NoSsh)?;
        guard.watch(&stream).and_then(|()| stream.set_nodelay(true)).map_err(|error| no_ssh(&error))?;
        let mut inner = ssh2::Session::new().map_err(|error| no_ssh(&error.message()))?;
        inner.method_pref(MethodType::HostKey, &host_key::preferences(peer.pinned)).map_err(|error| no_ssh(&error.message()))?;
        inner.set_tcp_stream(stream);
        inner.handshake().map_err(|error| NoSession::NoSsh(guard.why("handshake", &error)))?;
        let key = inner.host_key().and_then(|(blob, _)| host_key::from_blob(blob));
        let key = key.ok_or_else(|| NoSession::NoSsh("its host key is of an unknown kind".to_owned()))?;
        if peer.pinned.is_some_and(|pinned| *pinned != key) {
            return Err(NoSession::OtherKey(key));
        }
        match inner.userauth_pubkey_memory(peer.username, None, peer.private_key.expose_secret(), None) {
            Ok(()) => Ok(Self { key, inner, guard }),
            Err(error) if error.code() == ERROR_FILE => Err(NoSession::PrivateKey(error.message().to_owned())),
            Err(error) if REFUSED.contains(&error.code()) && !error.message().starts_with("Waiting for") => {
                Err(NoSession::LoginRefused(key, format!("{}: {}", peer.username, error.message())))
            }
            Err(error) => Err(NoSession::NoSsh(guard.why("login", &error))),
        }
    }

    /// Runs one command line with this stdin, and keeps at most `longest` bytes of its output. The error says what ended the
    /// connection.
    pub fn run(&self, command: &str, stdin: &[u8], longest: u64) -> Result<Output, String> {
        let why = |error: &ssh2::Error| self.guard.why("command", error);
        let mut channel = self.inner.channel_session().map_err(|error| why(&error))?;
        channel.handle_extended_data(ExtendedData::Merge).map_err(|error| why(&error))?;
        channel.exec(command).map_err(|error| why(&error))?;
        // A command that ends before it has read everything says why in its output.
        let written = channel.write_all(stdin).and_then(|()| channel.flush());
        let ended = channel.send_eof();
        let mut output = Vec::new();
        let read = std::io::Read::by_ref(&mut channel).take(longest).read_to_end(&mut output);
        if let Err(error) = read {
            return Err(self.guard.said("command", &error.to_string()));
        }
        if output.is_empty() {
            written.map_err(|error| self.guard.said("command", &error.to_string()))?;
            ended.map_err(|error| why(&error))?;
        }
        channel.close().map_err(|error| why(&error))?;
        channel.wait_close().map_err(|error| why(&error))?;
        let status = channel.exit_status().map_err(|error| why(&error))?;
        // Neither stdin nor output: both may hold what no log should show.
        tracing::debug!(verb = command.split_whitespace().find(|word| word.starts_with("'poolkeeper-")), status, "ssh");
        Ok(Output { text: String::from_utf8_lossy(&output).into_owned(), status })
    }
}

/// Nova gives addresses; a name is looked up. The first address that answers.
fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let mut why = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// Ends a connection when its time is over. libssh2's own timeout is for one operation, a machine that drips bytes never
/// meets it, and a clock would have to be read between operations.
struct Guard {
    watched: Arc<Mutex<Watched>>,
    limit: Duration,
    // Its drop ends the thread.
    _alive: Sender<()>,
}

#[derive(Default)]
struct Watched {
    stream: Option<TcpStream>,
    over: bool,
}

impl Guard {
    fn new(limit: Duration) -> Self {
        let (alive, dropped) = channel();
        let watched = Arc::new(Mutex::new(Watched::default()));
        let shared = Arc::clone(&watched);
        std::thread::spawn(move || watch(&shared, &dropped, limit));
        Self { watched, limit, _alive: alive }
    }

    fn watch(&self, stream: &TcpStream) -> std::io::Result<()> {
        let stream = stream.try_clone()?;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.over {
            stream.shutdown(Shutdown::Both)?;
        }
        watched.stream = Some(stream);
        Ok(())
    }

    fn why(&self, what: &str, error: &ssh2::Error) -> String {
        self.said(what, error.message())
    }

    fn said(&self, what: &str, error: &str) -> String {
        let over = self.watched.lock().unwrap_or_else(PoisonError::into_inner).over;
        if over { format!("{what} not done within {:?}", self.limit) } else { format!("{what}: {error}") }
    }
}

fn watch(watched: &Mutex<Watched>, dropped: &Receiver<()>, limit: Duration) {
    if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.over = true;
        if let Some(stream) = &watched.stream {
            // One that has ended already needs no end.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
