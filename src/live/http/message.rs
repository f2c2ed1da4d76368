//! A request and an answer as values. Nothing is sent here.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::log;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// In Debug output with its secrets hidden, as in a log.
#[derive(Clone)]
pub enum Body {
    None,
    Json(serde_json::Value),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, String)>),
    Bytes {
        content_type: String,
        bytes: Vec<u8>,
    },
    /// `application/octet-stream`, read as it is sent.
    Stream(Stream),
}

/// What is too large for memory: opened anew for each try.
#[derive(Clone)]
pub struct Stream {
    pub length: u64,
    pub open: Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Stream({} bytes)", self.length)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&log::request_body(self))
    }
}

#[derive(Debug, Clone)]
pub enum HeaderText {
    Plain(String),
    Secret(SecretString),
}

/// One request. Reads are retried; anything else only when the caller calls it idempotent.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, HeaderText)>,
    pub body: Body,
    pub retried: bool,
}

impl Request {
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        let retried = matches!(method, Method::Get | Method::Head);
        Self { method, url: url.into(), headers: Vec::new(), body: Body::None, retried }
    }

    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::Delete, url)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), HeaderText::Plain(value.into())));
        self
    }

    /// Its value is in no log and no error.
    #[must_use]
    pub fn secret_header(mut self, name: &str, value: SecretString) -> Self {
        self.headers.push((name.to_owned(), HeaderText::Secret(value)));
        self
    }

    #[must_use]
    pub fn basic_auth(self, user: &str, password: &SecretString) -> Self {
        use base64::Engine as _;
        let pair = format!("{user}:{}", password.expose_secret());
        let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        self.secret_header("Authorization", value.into())
    }

    #[must_use]
    pub fn json(mut self, value: serde_json::Value) -> Self {
        self.body = Body::Json(value);
        self
    }

    #[must_use]
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let owned = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.body = Body::Form(owned.collect());
        self
    }

    #[must_use]
    pub fn bytes(mut self, content_type: &str, bytes: Vec<u8>) -> Self {
        self.body = Body::Bytes { content_type: content_type.to_owned(), bytes };
        self
    }

    #[must_use]
    pub fn stream(mut self, stream: Stream) -> Self {
        self.body = Body::Stream(stream);
        self
    }

    /// Doing it twice is as good as once: it may be retried.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.retried = true;
        self
    }

    /// `POST http://host/path`, without what is secret in a URL.
    pub fn tried(&self) -> String {
        format!("{} {}", self.method.as_str(), log::url(&self.url))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Request({}, {})", self.tried(), log::headers(self))
    }
}

/// A whole answer, whatever its status.
#[derive(Clone)]
pub struct Response {
    /// What was asked, without query and secrets.
    pub url: String,
    pub status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers of that name: `Set-Cookie` comes several times.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `Retry-After`, in seconds alone: for a date a clock would have to be asked.
    pub(super) fn retry_after(&self) -> Option<std::time::Duration> {
        self.header("retry-after")?.trim().parse().ok().map(std::time::Duration::from_secs)
    }

    pub fn request_id(&self) -> Option<&str> {
        self.header("x-openstack-request-id").or_else(|| self.header("x-compute-request-id"))
    }

    /// Bytes that are no UTF-8 are shown as such.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A login page, an error page of a proxy: something that is never a service's answer to us.
    pub fn is_html(&self) -> bool {
        let typed = self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        let start = self.body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        typed || (start == Some(b'<') && self.text().to_ascii_lowercase().contains("<html"))
    }

    /// The body read as `T`. The error says where it broke and shows the body's start, or says that it is HTML.
    pub fn json<'b, T: serde::Deserialize<'b>>(&'b self) -> Result<T, String> {
        read_json(&self.body).map_err(|error| {
            if self.is_html() {
                return format!("HTML instead of JSON: {}", log::html_title(&self.text()));
            }
            format!("not the expected JSON: {error}; it begins with: {}", log::body_start(&self.body))
        })
    }
}

/// A text that is read and not kept: nothing is copied unless it has an escape in it.
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct Raw<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl std::ops::Deref for Raw<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// JSON as `T`. Whether a body is UTF-8 is asked once for the whole of it: for each text in it, it is a tenth of a long list's cost.
pub fn read_json<'b, T: serde::Deserialize<'b>>(body: &'b [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        // Its error says where.
        Err(_) => serde_json::from_slice(body),
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Response({}, {} bytes)", self.status, self.body.len())
    }
}

pub(super) fn form_urlencoded(fields: &[(String, String)]) -> String {
    let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}
