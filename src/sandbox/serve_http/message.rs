//! HTTP/1.1 as far as the sandbox speaks it: requests with a Content-Length, answers, percent-encoding, forms.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use serde_json::Value;

use crate::sandbox::upload::Stored;

/// Longer heads and bodies than any client of ours sends are refused.
const MAX_HEAD: u64 = 64 << 10;
const MAX_BODY: u64 = 16 << 20;

/// No `Debug`: it carries tokens and passwords.
pub(super) struct Request {
    pub method: String,
    /// As sent: `/path?query`.
    pub target: String,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Of the body, before it is read.
    length: u64,
    /// A body that is too large for memory, once it was read.
    stored: Mutex<Option<Stored>>,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// A request without its body; none: the connection is closed.
pub(super) fn read_head(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(broken("no request line")) };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(broken("the head has no end"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken("no header"))?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Ok(0), |text| text.parse::<u64>());
    let length = length.map_err(|_| broken("no length"))?;
    if headers.get("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    Ok(Some(Request { method, target, headers, body: Vec::new(), length, stored: Mutex::default() }))
}

impl Request {
    pub(super) fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        if self.length > MAX_BODY {
            return Err(broken("a body that is too long"));
        }
        if reader.by_ref().take(self.length).read_to_end(&mut self.body)? as u64 != self.length {
            return Err(broken("the body was cut off"));
        }
        Ok(())
    }

    /// An image's data.
    pub(super) fn store_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        let stored = Stored::receive(reader, self.length)?;
        self.stored = Mutex::new(Some(stored));
        Ok(())
    }

    pub(super) fn take_stored(&self) -> Option<Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Of the path, decoded, without empty ones.
    pub(super) fn segments(&self) -> Vec<String> {
        let path = self.target.split('?').next().unwrap_or_default();
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
    }

    pub(super) fn raw_query(&self) -> &str {
        self.target.split_once('?').map(|(_, query)| query).unwrap_or_default()
    }

    pub(super) fn query(&self) -> Vec<(String, String)> {
        pairs(self.raw_query())
    }

    pub(super) fn query_value(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A field of the query or of a form body, as servlets see it.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let is_form = self.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { pairs(&String::from_utf8_lossy(&self.body)) } else { Vec::new() };
        self.query_value(name).or_else(|| form.into_iter().find(|(key, _)| key == name).map(|(_, value)| value))
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// User and password of HTTP Basic.
    pub(super) fn basic(&self) -> Option<(String, SecretString)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.into()))
    }

    /// A cookie's value.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.header("cookie")?.split(';');
        cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(key, value)| (decode(key), decode(value))).collect()
}

pub(super) struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// In place of a body.
    file: Option<Arc<Stored>>,
}

impl Response {
    pub(super) fn text(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), content_type.to_owned())], body: body.into(), file: None }
    }

    pub(super) fn file(stored: Arc<Stored>) -> Self {
        Self { file: Some(stored), ..Self::text(200, "application/octet-stream", "") }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), file: None }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn write(&self, to: &mut impl Write, head_only: bool) -> io::Result<()> {
        let mut bytes = self.head();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        to.write_all(&bytes)?;
        if let Some(stored) = self.file.as_ref().filter(|_| !head_only) {
            stored.send(to)?;
        }
        to.flush()
    }

    /// As much as a connection that breaks lets through.
    pub(super) fn write_half(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.head();
        bytes.extend(self.body.iter().take(self.body.len() / 2));
        to.write_all(&bytes)?;
        to.flush()
    }

    fn head(&self) -> Vec<u8> {
        let mut lines = vec![format!("HTTP/1.1 {} {}", self.status, reason(self.status))];
        // A header has one line.
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {}", value.replace(['\r', '\n'], " "))));
        if self.status != 204 {
            let length = self.file.as_ref().map_or(self.body.len() as u64, |stored| stored.digests.size);
            lines.push(format!("Content-Length: {length}"));
        }
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        300 => "Multiple Choices",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> io::Result<Option<Request>> {
        let mut reader = text.as_bytes();
        let Some(mut request) = read_head(&mut reader, &mut Vec::new())? else { return Ok(None) };
        request.read_body(&mut reader).map(|()| Some(request))
    }

    #[test]
    fn a_request_is_taken_apart() {
        let text = "POST /a%20b//c?x=1&y=%C3%A9+z HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                    Cookie: a=1; JSESSIONID=node0\r\nAuthorization: Basic dTpwOnE=\r\nContent-Length: 8\r\n\r\nname=n+1rest";
        let request = parse(text).expect("whole").expect("one");
        assert_eq!(request.segments(), ["a b", "c"]);
        assert_eq!(request.query_value("y").as_deref(), Some("\u{e9} z"));
        assert_eq!(request.parameter("name").as_deref(), Some("n 1"));
        assert_eq!(request.cookie("JSESSIONID"), Some("node0"));
        assert_eq!(request.basic().map(|(user, _)| user).as_deref(), Some("u"));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        assert!(parse("GET / HTTP/1.1\r\nHost: x").is_err());
        assert!(parse("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc").is_err());
        assert!(parse("").is_ok_and(|request| request.is_none()));
    }
}
