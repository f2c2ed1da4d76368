//! A tiny HTTP server on loopback that plays scripted answers and keeps what it was asked. No framework, no clock.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

/// What is played.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Bytes of the body that are sent, although `Content-Length` promises all.
    pub cut_at: Option<usize>,
    /// The connection ends without an answer.
    pub hang_up: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut_at: None, hang_up: false }
    }

    /// `application/json`.
    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, body).header("Content-Type", "application/json")
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self::new(status, body).header("Content-Type", "text/html;charset=utf-8")
    }

    pub(crate) fn hang_up() -> Self {
        Self { hang_up: true, ..Self::new(200, "") }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cut_at(mut self, bytes: usize) -> Self {
        self.cut_at = Some(bytes);
        self
    }
}

type Handler = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// Stops when it is dropped.
pub(crate) struct HttpServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// `handler` gets each request, and how many of the same method and path came before it.
    pub(crate) fn start(handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("an address");
        let (seen, stop): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicBool>) = Default::default();
        let (kept, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let handler: Arc<Handler> = Arc::new(handler);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (kept, handler) = (Arc::clone(&kept), Arc::clone(&handler));
                let stream = stream.expect("a connection");
                // A client that goes away in the middle is the test's own doing.
                std::thread::spawn(move || drop(serve(stream, &kept, handler.as_ref())));
            }
        });
        Self { address, seen, stop, accepting: Some(accepting) }
    }

    /// Answers by `METHOD /path`, played in order; the last one stays. What is not listed is a 404 in plain text.
    pub(crate) fn with(routes: &[(&str, &[Reply])]) -> Self {
        let owned = routes.iter().map(|(route, replies)| ((*route).to_owned(), replies.to_vec()));
        let routes: BTreeMap<String, Vec<Reply>> = owned.collect();
        Self::start(move |seen, before| {
            let replies = routes.get(&format!("{} {}", seen.method, seen.path));
            let reply = replies.and_then(|replies| replies.get(before).or(replies.last()));
            reply.cloned().unwrap_or_else(|| Reply::new(404, format!("no route {} {}", seen.method, seen.path)))
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in the order of their arrival.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic in the server").clone()
    }

    /// `METHOD /path` of each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().expect("no panic in the server").clear();
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Seen>>, handler: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader)? else { return Ok(()) };
    let before = {
        let mut kept = kept.lock().expect("no panic in the server");
        let before = kept.iter().filter(|seen| seen.method == request.method && seen.path == request.path).count();
        kept.push(request.clone());
        before
    };
    let reply = handler(&request, before);
    if reply.hang_up {
        return Ok(());
    }
    let mut stream = reader.into_inner();
    let mut head = vec![format!("HTTP/1.1 {} Scripted", reply.status), "Connection: close".to_owned()];
    if reply.status != 204 {
        head.push(format!("Content-Length: {}", reply.body.len()));
    }
    head.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    stream.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes())?;
    let sent = reply.body.iter().copied().take(reply.cut_at.unwrap_or(usize::MAX));
    stream.write_all(&sent.collect::<Vec<u8>>())?;
    stream.flush()
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Seen { method, path: path.to_owned(), query: query.to_owned(), headers, body }))
}
