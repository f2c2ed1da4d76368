//! The machines over SSH on loopback: an address each, one port for all, a host key each. Only publickey, only remote
//! commands of ours, read and never executed. The one door to russh and tokio.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Sandbox;
use super::faults::{Drop as Dropped, SshFate};
use super::machine::{KeySeed, text_key};
use crate::live::machine::remote_command::RemoteCommand;
use crate::names::ServerId;
use crate::observed::HostKey;

/// Serves until it is dropped.
pub struct SshServer {
    port: u16,
    user_key: PrivateKey,
    orders: UnboundedSender<Order>,
    sandbox: Sandbox,
    thread: Option<JoinHandle<()>>,
    /// Holds the port for this world.
    _reserved: TcpListener,
}

impl std::fmt::Debug for SshServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SshServer(port {})", self.port)
    }
}

enum Order {
    Open(String, TcpListener),
    Close(String),
    End,
}

/// Which machines can be connected to; the state opens and closes them as they come up and go.
pub(super) struct Doors {
    port: u16,
    orders: UnboundedSender<Order>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Doors(port {})", self.port)
    }
}

impl Doors {
    /// From its return on a connect succeeds. False: the address is taken, and the machine stays silent.
    pub(super) fn open(&self, address: &str) -> bool {
        let Ok(ip) = address.parse::<Ipv4Addr>() else { return false };
        let Ok(listener) = TcpListener::bind((ip, self.port)) else { return false };
        listener.set_nonblocking(true).is_ok() && self.orders.send(Order::Open(address.to_owned(), listener)).is_ok()
    }

    pub(super) fn close(&self, address: &str) {
        // An error: the server is gone, and its listeners with it.
        let _gone = self.orders.send(Order::Close(address.to_owned()));
    }
}

fn key(seed: &KeySeed, comment: &str) -> PrivateKey {
    let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed.0));
    key.set_comment(comment);
    key
}

fn host_key(seed: &KeySeed) -> HostKey {
    let public = key(seed, "").public_key().to_openssh();
    public.ok().and_then(|text| HostKey::parse(&text)).unwrap_or_else(|| text_key(seed))
}

impl Sandbox {
    /// On a port of its own. Host keys are true ones from now on, those of running machines too.
    pub fn serve_ssh(&self) -> io::Result<SshServer> {
        let reserved = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = reserved.local_addr()?.port();
        let (orders, received) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let user_key = self.with(|state| {
            state.host_key_of = host_key;
            for machine in state.machines.values_mut() {
                machine.host_key = host_key(&machine.key_seed);
            }
            state.open_doors(Doors { port, orders: orders.clone() });
            key(&KeySeed(state.ids.bytes()), "poolkeeper sandbox")
        });
        let thread = {
            let (sandbox, user_key) = (self.clone(), user_key.public_key().clone());
            std::thread::spawn(move || runtime.block_on(serve(received, sandbox, user_key)))
        };
        let thread = Some(thread);
        Ok(SshServer { port, user_key, orders, sandbox: self.clone(), thread, _reserved: reserved })
    }
}

impl SshServer {
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that every machine lets in, as OpenSSH writes it, mode 0600.
    pub fn write_key(&self, path: &Path) -> io::Result<()> {
        let text = self.user_key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.sandbox.with(super::state::State::close_doors);
        let _gone = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

async fn serve(mut orders: UnboundedReceiver<Order>, sandbox: Sandbox, user_key: PublicKey) {
    let mut open = BTreeMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Open(address, listener) => {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { continue };
                let task = tokio::spawn(accept(listener, address.clone(), sandbox.clone(), user_key.clone()));
                open.insert(address, task);
            }
            Order::Close(address) => {
                if let Some(task) = open.remove(&address) {
                    task.abort();
                }
            }
            Order::End => return,
        }
    }
}

/// Connections to one machine.
async fn accept(listener: tokio::net::TcpListener, address: String, sandbox: Sandbox, user_key: PublicKey) {
    while let Ok((stream, _)) = listener.accept().await {
        let (dropped, silent, found) = sandbox.with(|state| {
            let dropped = state.admit("ssh connect").is_some();
            let now = state.clock.now();
            let mut machines = state.machines.iter();
            let found = machines.find(|(_, machine)| machine.address == address && machine.reachable(now));
            let found = found.map(|(server, machine)| (server.clone(), machine.key_seed));
            (dropped, dropped && state.faults.silent, found)
        });
        if silent {
            tokio::spawn(hold(stream));
            continue;
        }
        let Some((server, seed)) = found.filter(|_| !dropped) else { continue };
        let config = Config {
            keys: vec![key(&seed, "")],
            // The same answer to all: nothing is to be hidden.
            auth_rejection_time: Duration::ZERO,
            inactivity_timeout: Some(Duration::from_secs(60)),
            nodelay: true,
            ..Config::default()
        };
        let guest = Guest { sandbox: sandbox.clone(), server, user_key: user_key.clone(), running: BTreeMap::new() };
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(Arc::new(config), stream, guest).await {
                // A client that goes away is its own affair.
                let _ended = session.await;
            }
        });
    }
}

/// Keeps a connection without a word until the client gives up, or is no more.
async fn hold(mut stream: tokio::net::TcpStream) {
    let _ended = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// One connection to a machine.
struct Guest {
    sandbox: Sandbox,
    server: ServerId,
    user_key: PublicKey,
    /// Commands that wait for the end of their stdin.
    running: BTreeMap<ChannelId, (RemoteCommand, Vec<u8>)>,
}

impl Guest {
    /// Runs a command; an error ends the connection, as a kill point asks for.
    fn run(&self, channel: ChannelId, command: &RemoteCommand, stdin: &[u8], to: &mut Session) -> Result<(), russh::Error> {
        let (printed, dropped, silent) = self.sandbox.with(|state| {
            let dropped = state.admit(word(command));
            let printed = (dropped != Some(Dropped::BeforeEffect)).then(|| state.run_remote(&self.server, command, stdin));
            (printed, dropped.is_some(), dropped.is_some() && state.faults.silent)
        });
        if silent {
            return Ok(());
        }
        let Some(printed) = printed.filter(|_| !dropped) else { return Err(russh::Error::Disconnect) };
        finish(channel, &printed.text, printed.status, to)
    }
}

/// A command in words, for the count of calls.
fn word(command: &RemoteCommand) -> &'static str {
    match command {
        RemoteCommand::Look { .. } => "ssh look",
        RemoteCommand::Push { .. } => "ssh push",
        RemoteCommand::Start { .. } => "ssh start",
        RemoteCommand::StartAgent { .. } => "ssh start-agent",
        RemoteCommand::TurnOff { .. } => "ssh turn-off",
        RemoteCommand::ScriptLog { .. } => "ssh script-log",
    }
}

fn finish(channel: ChannelId, text: &str, status: u32, to: &mut Session) -> Result<(), russh::Error> {
    to.data(channel, text.as_bytes().to_vec())?;
    to.exit_status_request(channel, status)?;
    to.eof(channel)?;
    to.close(channel)
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let refuses = self
            .sandbox
            .with(|state| state.machines.get(&self.server).is_none_or(|machine| machine.fate.ssh == SshFate::LoginRefused));
        let fits = key.public_key.key_data() == self.user_key.key_data();
        Ok(if fits && !refuses { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        match RemoteCommand::parse(&String::from_utf8_lossy(data)) {
            None => finish(channel, "the sandbox runs nothing but poolkeeper's own commands\n", 127, session),
            Some(command @ (RemoteCommand::Look { .. } | RemoteCommand::ScriptLog { .. })) => {
                self.run(channel, &command, b"", session)
            }
            Some(command) => {
                self.running.insert(channel, (command, Vec::new()));
                Ok(())
            }
        }
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _session: &mut Session) -> Result<(), Self::Error> {
        if let Some((_, stdin)) = self.running.get_mut(&channel) {
            stdin.extend_from_slice(data);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        match self.running.remove(&channel) {
            Some((command, stdin)) => self.run(channel, &command, &stdin, session),
            None => Ok(()),
        }
    }
}
