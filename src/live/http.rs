//! The one door to HTTP: timeouts, retries, TLS, and errors without a secret. The values that go in and out are
//! `message`'s, what reaches a log is `log`'s, what a status means is the caller's.

pub mod log;
mod message;
mod options;

use std::error::Error as StdError;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;

use message::form_urlencoded;
pub use message::{Body, HeaderText, Method, Raw, Request, Response, Stream, read_json};
pub use options::{Options, Patience};

/// A name that does not answer to SYN within this time is not there; the call's own timeout is for slow answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Retries of one call: a proxy that restarts is back after two pauses, anything longer is for the next pass.
const RETRIES: u32 = 2;

/// The longest pause before the first retry; the second is up to twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// No answer that is asked for comes near it: 1000 servers in detail are about 3 MB.
const MAX_BODY: u64 = 256 * 1024 * 1024;

/// Of one stream, up or down: a slow line takes hours, a dead one is ended by the kernel's own probes or by the person who waits.
const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Makes ring the process's TLS provider: before the first client. Repeatable.
pub fn install_tls_provider() {
    // An error says that there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The way to one service. Redirects are never followed: a POST that follows one becomes a GET elsewhere.
#[derive(Debug)]
pub struct Client {
    inner: reqwest::blocking::Client,
    timeout: Duration,
    patience: Patience,
    calls: AtomicU64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    pub kind: HttpErrorKind,
    /// For people; no URL, no secret.
    pub said: String,
    /// The service may have seen the request: whether it was done is unknown.
    pub sent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// Nobody listens there, or no way leads there.
    Refused,
    Timeout,
    Tls,
    Dns,
    /// The connection ended in the middle of a request or an answer.
    Broken,
    /// The run's deadline came first: nothing was sent.
    NoTimeLeft,
    /// The request or the client cannot be made: a broken URL, an unreadable certificate.
    Invalid,
}

impl fmt::Display for HttpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.said)
    }
}

impl StdError for HttpError {}

fn invalid(said: String) -> HttpError {
    HttpError { kind: HttpErrorKind::Invalid, said, sent: false }
}

fn builder(options: &Options) -> Result<reqwest::blocking::ClientBuilder, HttpError> {
    let mut builder = reqwest::blocking::Client::builder()
        .user_agent(concat!("poolkeeper/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        // Each request brings its own.
        .timeout(None)
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(&options.base) {
        builder = builder.no_proxy();
    }
    if !options.verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else if let Some(path) = &options.cacert {
        let pem = read(path)?;
        let certs = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certs.is_empty() {
            return Err(invalid(format!("{}: no PEM certificate in it", path.display())));
        }
        builder = builder.tls_certs_only(certs);
    }
    if let Some((cert, key)) = &options.client_cert {
        let mut pem = read(cert)?;
        if let Some(key) = key {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        let identity = reqwest::Identity::from_pem(&pem)
            .map_err(|_| invalid(format!("{}: no PEM certificate with its key", cert.display())))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

/// The clients of all services that ask for nothing of their own, elsewhere and on loopback: one thread and one reading of the
/// system's certificates, which is most of what an idle run would do for each.
static SHARED: [OnceLock<reqwest::blocking::Client>; 2] = [OnceLock::new(), OnceLock::new()];

fn shared(options: &Options) -> Result<reqwest::blocking::Client, HttpError> {
    let [elsewhere, loopback] = &SHARED;
    let place = if is_loopback(&options.base) { loopback } else { elsewhere };
    let common =
        options.verify && options.cacert.is_none() && options.client_cert.is_none() && options.timeout >= CONNECT_TIMEOUT;
    match place.get() {
        Some(client) if common => Ok(client.clone()),
        None if common => built(builder(options)?).map(|client| place.get_or_init(|| client).clone()),
        Some(_) | None => built(builder(options)?),
    }
}

fn built(builder: reqwest::blocking::ClientBuilder) -> Result<reqwest::blocking::Client, HttpError> {
    builder.build().map_err(|error| invalid(format!("no HTTP client: {}", innermost(&error.without_url()))))
}

impl Client {
    pub fn new(options: &Options) -> Result<Self, HttpError> {
        let inner = match shared(options) {
            // A system without certificates is no hindrance where no TLS is spoken.
            Err(_) if options.base.starts_with("http://") => built(builder(options)?.tls_certs_only([])),
            made => made,
        }?;
        Ok(Self { inner, timeout: options.timeout, patience: options.patience.clone(), calls: AtomicU64::new(0) })
    }

    /// Requests sent so far, retries among them.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// One request, and its answer whatever the status. A request that may be is retried on 429, 502, 503, 504 and on
    /// broken connections, as long as the pause fits into the time left.
    pub fn send(&self, request: &Request) -> Result<Response, HttpError> {
        for attempt in 0..RETRIES {
            let result = self.once(request);
            let asked = match &result {
                Ok(response) if matches!(response.status, 429 | 502 | 503 | 504) => response.retry_after(),
                Err(error) if matches!(error.kind, HttpErrorKind::Refused | HttpErrorKind::Dns | HttpErrorKind::Broken) => None,
                Ok(_) | Err(_) => return result,
            };
            let pause = asked.unwrap_or_else(|| jittered(PAUSE * (attempt + 1)));
            if !request.retried || pause >= (self.patience.left)() || pause > self.timeout {
                return result;
            }
            tracing::debug!(tried = %request.tried(), pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "retry");
            (self.patience.pause)(pause);
        }
        self.once(request)
    }

    /// One request, once; the body of a success goes to `take` as it comes, and what is returned has none. Of any other status
    /// the whole answer.
    pub fn download(&self, request: &Request, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Response, HttpError> {
        let result = self
            .answer(request, STREAM_TIMEOUT)
            .and_then(|answer| if answer.status().is_success() { passed_on(answer, take) } else { whole(answer) });
        log::answered(request, &result);
        result
    }

    fn once(&self, request: &Request) -> Result<Response, HttpError> {
        let longest = if matches!(request.body, Body::Stream(_)) { STREAM_TIMEOUT } else { self.timeout };
        let result = self.answer(request, longest).and_then(whole);
        log::answered(request, &result);
        result
    }

    fn answer(&self, request: &Request, longest: Duration) -> Result<reqwest::blocking::Response, HttpError> {
        let left = (self.patience.left)();
        if left.is_zero() {
            let said = "no time left in this run".to_owned();
            return Err(HttpError { kind: HttpErrorKind::NoTimeLeft, said, sent: false });
        }
        let limit = longest.min(left);
        let built = self.build(request, limit)?;
        log::sent(request);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.execute(built).map_err(|error| from_reqwest(&error.without_url(), &request.url, limit))
    }

    fn build(&self, request: &Request, timeout: Duration) -> Result<reqwest::blocking::Request, HttpError> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.inner.request(method, &request.url).timeout(timeout);
        for (name, text) in &request.headers {
            let (text, secret) = match text {
                HeaderText::Plain(text) => (text.as_str(), false),
                HeaderText::Secret(text) => (text.expose_secret(), true),
            };
            let mut value = reqwest::header::HeaderValue::from_str(text)
                .map_err(|_| invalid(format!("the header {name} has characters that HTTP does not take")))?;
            value.set_sensitive(secret);
            builder = builder.header(name, value);
        }
        let (content_type, bytes) = match &request.body {
            Body::None => return finish(builder, &request.url),
            Body::Json(value) => ("application/json", value.to_string().into_bytes()),
            Body::Form(fields) => ("application/x-www-form-urlencoded", form_urlencoded(fields).into_bytes()),
            Body::Bytes { content_type, bytes } => (content_type.as_str(), bytes.clone()),
            Body::Stream(stream) => {
                let opened = (stream.open)().map_err(|error| invalid(format!("what is to be sent cannot be read: {error}")))?;
                let body = reqwest::blocking::Body::sized(opened, stream.length);
                return finish(builder.header("Content-Type", "application/octet-stream").body(body), &request.url);
            }
        };
        finish(builder.header("Content-Type", content_type).body(bytes), &request.url)
    }
}

fn finish(builder: reqwest::blocking::RequestBuilder, url: &str) -> Result<reqwest::blocking::Request, HttpError> {
    builder.build().map_err(|error| invalid(format!("`{}` cannot be asked: {}", log::url(url), chain(&error.without_url()))))
}

/// Status and headers alone.
fn head(answer: &reqwest::blocking::Response) -> Response {
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let (url, status) = (log::address(answer.url().as_str()), answer.status().as_u16());
    Response { url, status, headers: headers.collect(), body: Vec::new() }
}

fn broken(status: u16, kind: HttpErrorKind, why: &str) -> HttpError {
    HttpError { kind, said: format!("HTTP {status}, but its body {why}"), sent: true }
}

/// A body that ended before its length or its last chunk.
fn cut_off(status: u16, after: u64, error: &io::Error) -> HttpError {
    if is_timeout(error) {
        return broken(status, HttpErrorKind::Timeout, "did not come in time");
    }
    broken(status, HttpErrorKind::Broken, &format!("ended after {after} bytes, before it was whole"))
}

fn whole(mut answer: reqwest::blocking::Response) -> Result<Response, HttpError> {
    let mut response = head(&answer);
    let read = answer.by_ref().take(MAX_BODY + 1).read_to_end(&mut response.body);
    let length = response.body.len() as u64;
    read.map_err(|error| cut_off(response.status, length, &error))?;
    if length > MAX_BODY {
        return Err(broken(response.status, HttpErrorKind::Invalid, "is larger than 256 MiB"));
    }
    Ok(response)
}

fn passed_on(
    mut answer: reqwest::blocking::Response,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Response, HttpError> {
    let (response, mut buffer, mut length) = (head(&answer), vec![0; 128 << 10], 0_u64);
    loop {
        let read = answer.read(&mut buffer).map_err(|error| cut_off(response.status, length, &error))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok(response) };
        take(part).map_err(|error| invalid(format!("what came cannot be kept: {error}")))?;
        length += read as u64;
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    error.kind() == io::ErrorKind::TimedOut || inner.is_some_and(reqwest::Error::is_timeout)
}

fn from_reqwest(error: &reqwest::Error, url: &str, limit: Duration) -> HttpError {
    let sent = !error.is_connect() && !error.is_builder();
    let at = authority(url);
    let io_kind = io_kind(error);
    let (kind, said) = if error.is_builder() {
        (HttpErrorKind::Invalid, chain(error))
    } else if error.is_timeout() && sent {
        (HttpErrorKind::Timeout, format!("no answer from {at} within {limit:.0?}"))
    } else if error.is_timeout() {
        (HttpErrorKind::Timeout, format!("no connection to {at} within {:.0?}", CONNECT_TIMEOUT.min(limit)))
    } else if error.is_dns() {
        (HttpErrorKind::Dns, format!("the name of {at} is not known: {}", innermost(error)))
    } else if is_tls(error) || (!sent && io_kind == Some(io::ErrorKind::UnexpectedEof)) {
        (HttpErrorKind::Tls, format!("no TLS with {at}: {}", innermost(error)))
    } else if io_kind == Some(io::ErrorKind::ConnectionRefused) {
        (HttpErrorKind::Refused, format!("connection refused by {at}"))
    } else if !sent {
        (HttpErrorKind::Refused, format!("no connection to {at}: {}", innermost(error)))
    } else {
        (HttpErrorKind::Broken, format!("{at} ended the connection without an answer: {}", innermost(error)))
    };
    HttpError { kind, said, sent }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // An io::Error's source is the source of what it wraps: the wrapped error itself would be passed over.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).last()
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(<dyn StdError>::is::<rustls::Error>)
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

fn authority(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(
        |_| "the service".to_owned(),
        |url| match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        },
    )
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let address: Result<std::net::IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, HttpError> {
    std::fs::read(path).map_err(|error| invalid(format!("{}: {error}", path.display())))
}

/// Half to whole, so that calls that failed together do not come back together.
fn jittered(longest: Duration) -> Duration {
    let part = u32::try_from(RandomState::new().hash_one(0_u8) % 512).unwrap_or_default();
    longest / 2 + longest / 1024 * part
}
