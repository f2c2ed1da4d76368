//! The world over HTTP/1.1 on loopback: one listener, a thread a connection, faults and kill points. What is answered is in
//! the modules below. Services stand at `/os/<provider>/{identity,compute,image,network}`, controllers at `/jenkins/<target>/`.

mod glance;
mod jenkins;
mod keystone;
mod message;
mod neutron;
mod nova;
mod nova_json;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::Sandbox;
use super::faults::{Drop as Dropped, HttpFaultAnswer};
use crate::names::{ImageId, ProviderName, TargetName};
use message::{Request, Response};

/// Serves until it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Connections that were ever made.
    connections: AtomicU64,
    /// Open connections, to be closed at the end.
    open: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Sandbox {
    /// On a port of its own.
    pub fn serve_http(&self) -> io::Result<HttpServer> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = {
            let (shared, sandbox) = (Arc::clone(&shared), self.clone());
            std::thread::spawn(move || accept(&listener, &shared, &sandbox))
        };
        Ok(HttpServer { address, shared, accepting: Some(accepting) })
    }
}

impl HttpServer {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were ever made to it.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Keystone's, for `auth_url` in clouds.yaml.
    pub fn auth_url(&self, provider: &ProviderName) -> String {
        format!("http://{}/os/{provider}/identity/v3", self.address)
    }

    /// A controller's, with a slash at its end.
    pub fn jenkins_url(&self, target: &TargetName) -> String {
        format!("http://{}/jenkins/{target}/", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(self.address);
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.accepting.take() {
            let _ended = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, sandbox: &Sandbox) {
    for (number, stream) in (0_u64..).zip(listener.incoming()) {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(copy) = stream.try_clone() else { continue };
        shared.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, copy);
        let (shared, sandbox) = (Arc::clone(shared), sandbox.clone());
        std::thread::spawn(move || {
            // A connection that breaks is the client's to notice.
            let _broken = converse(&stream, &sandbox);
            let _closed = stream.shutdown(Shutdown::Both);
            shared.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        });
    }
}

/// Requests of one connection, one after the other, until it is closed or a fault closes it.
fn converse(stream: &TcpStream, sandbox: &Sandbox) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let root = format!("http://{}", stream.local_addr()?);
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    while let Some(mut request) = message::read_head(&mut reader, &mut writer)? {
        match upload_of(&request) {
            Some((provider, image)) => {
                sandbox.with(|state| state.begin_upload(&provider, &image));
                if let Err(cut_off) = request.store_body(&mut reader) {
                    sandbox.with(|state| state.break_upload(&provider, &image));
                    return Err(cut_off);
                }
            }
            None => request.read_body(&mut reader)?,
        }
        let line = format!("{} {}", request.method, request.target);
        let (dropped, silent, fault) = sandbox.with(|state| {
            let dropped = state.admit(&line);
            let fault = if dropped.is_none() { state.faults.http_fault(&line) } else { None };
            state.faults.answering += 1;
            (dropped, dropped.is_some() && state.faults.silent, fault)
        });
        let fault = dropped.map(HttpFaultAnswer::Drop).or(fault);
        let half = matches!(fault, Some(HttpFaultAnswer::Half));
        let answered = match fault {
            Some(HttpFaultAnswer::Drop(Dropped::BeforeEffect)) => None,
            Some(HttpFaultAnswer::Drop(Dropped::AfterEffect)) => answer(sandbox, &request, &root).and(None),
            Some(HttpFaultAnswer::Say { status, headers, body }) => Some(said(status, headers, body)),
            Some(HttpFaultAnswer::Half) | None => answer(sandbox, &request, &root),
        };
        sandbox.with(|state| state.faults.answering -= 1);
        let Some(response) = answered else {
            if silent {
                // Until the client gives up, or is no more.
                io::copy(&mut reader, &mut io::sink())?;
            }
            return Ok(());
        };
        if half {
            return response.write_half(&mut writer);
        }
        response.write(&mut writer, request.method == "HEAD")?;
        if request.wants_close() {
            return Ok(());
        }
    }
    Ok(())
}

/// Whose data a request brings.
fn upload_of(request: &Request) -> Option<(ProviderName, ImageId)> {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["os", provider, "image", "v2", "images", image, "file"] if request.method == "PUT" => {
            Some((ProviderName::from(*provider), ImageId::from(*image)))
        }
        _ => None,
    }
}

fn said(status: u16, headers: Vec<(String, String)>, body: String) -> Response {
    let mut response = Response::text(status, "application/json", body);
    if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        response.headers.clear();
    }
    response.headers.extend(headers);
    response
}

/// None: the connection is closed without a word, as in an outage.
fn answer(sandbox: &Sandbox, request: &Request, root: &str) -> Option<Response> {
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["os", provider, service, rest @ ..] => {
            let provider = ProviderName::from(*provider);
            if sandbox.with(|state| state.is_silent(&provider)) {
                return None;
            }
            let base = format!("{root}/os/{provider}");
            Some(match *service {
                "identity" => keystone::answer(sandbox, &provider, request, rest, &base),
                "compute" => nova::answer(sandbox, &provider, request, rest, &format!("{base}/compute")),
                "image" => glance::answer(sandbox, &provider, request, rest, &format!("{base}/image")),
                "network" => neutron::answer(sandbox, &provider, request, rest, &format!("{base}/network")),
                _ => Response::text(404, "text/plain", "404 page not found"),
            })
        }
        ["jenkins", target, rest @ ..] => {
            let target = TargetName::from(*target);
            let url = format!("{root}/jenkins/{target}/");
            sandbox.with(|state| jenkins::answer(state, &target, request, rest, &url))
        }
        _ => Some(Response::text(404, "text/plain", "404 page not found")),
    }
}
