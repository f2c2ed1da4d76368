//! What OpenStack's services say when they say no: every shape of error body, as one text; and what the caller does next.

use std::fmt;

use serde_json::Value;

use crate::live::http::{HttpError, HttpErrorKind, Response, log};
use crate::observed::{Gap, Source};
use crate::world::{ActError, ActErrorKind};

/// A call that brought no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    pub kind: CallErrorKind,
    /// In the service's own words, with status and request id.
    pub said: String,
    /// `GET /servers/detail`.
    pub tried: String,
    /// Where the answer came from, if there was one.
    pub from: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// No answer. The request may have been carried out when it was sent.
    NoAnswer { kind: HttpErrorKind, sent: bool },
    /// A status that is not a success.
    Status { status: u16, quota: bool },
    /// A success whose body cannot be believed.
    Unreadable,
    /// A success whose body is not of the service's shape at all.
    Foreign,
    /// Never sent: the catalog has no such endpoint.
    NoEndpoint,
    /// Given up.
    Setup,
}

/// Longer than any message of a service; a page of a proxy is cut.
const MAX_MESSAGE: usize = 500;

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.said, self.tried)
    }
}

impl std::error::Error for CallError {}

pub fn no_answer(tried: &str, error: &HttpError) -> CallError {
    let kind = CallErrorKind::NoAnswer { kind: error.kind, sent: error.sent };
    CallError { kind, said: error.said.clone(), tried: tried.to_owned(), from: None }
}

pub fn refused(tried: &str, response: &Response) -> CallError {
    let message = message(response);
    let kind = CallErrorKind::Status { status: response.status, quota: is_quota(response.status, &message) };
    let said = format!("{message} ({})", reference(response));
    CallError { kind, said, tried: tried.to_owned(), from: Some(response.url.clone()) }
}

pub fn unreadable(tried: &str, response: &Response, said: &str) -> CallError {
    let said = format!("{said} ({})", reference(response));
    CallError { kind: CallErrorKind::Unreadable, said, tried: tried.to_owned(), from: Some(response.url.clone()) }
}

/// What answers is not the service, or something before it cut its answer.
pub fn foreign(tried: &str, response: &Response, said: &str) -> CallError {
    CallError { kind: CallErrorKind::Foreign, ..unreadable(tried, response, said) }
}

pub fn no_endpoint(tried: &str, said: String) -> CallError {
    CallError { kind: CallErrorKind::NoEndpoint, ..setup(tried, said) }
}

pub fn setup(tried: &str, said: String) -> CallError {
    CallError { kind: CallErrorKind::Setup, said, tried: tried.to_owned(), from: None }
}

/// `HTTP 403, req-46c1abc4-...`: what an operator of the cloud finds it by.
fn reference(response: &Response) -> String {
    let status = response.status;
    response.request_id().map_or_else(|| format!("HTTP {status}"), |id| format!("HTTP {status}, {id}"))
}

/// The text of an error body: Nova's `{"forbidden": {"message": ..}}`, Keystone's `{"error": {..}}`, Neutron's
/// `{"NeutronError": {..}}`, Glance's `{"message": ".. <br />"}`, and pages and plain text of what stands before them.
pub fn message(response: &Response) -> String {
    let text = match serde_json::from_slice::<Value>(&response.body) {
        Ok(value) => in_json(&value),
        Err(_) if response.is_html() => Some(log::html_title(&response.text())),
        Err(_) => Some(response.text()),
    };
    // Glance wraps its text in markup, with a line break at the end.
    let text = log::without_markup(&text.unwrap_or_default());
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = without_values(&words.join(" ")).chars().take(MAX_MESSAGE).collect();
    if text.is_empty() { "no reason given".to_owned() } else { text }
}

/// Nova's schema errors repeat what was sent, user data too: `Invalid input for field/attribute server. Value: {..}. ..`.
/// The field stays, and the reason where it is told from the value by a brace.
fn without_values(text: &str) -> String {
    let Some((field, rest)) = text.split_once(" Value: ") else { return text.to_owned() };
    let reason = rest.rsplit_once("}. ").map_or("(its value is not shown)", |(_, reason)| reason);
    format!("{field} {reason}")
}

fn in_json(value: &Value) -> Option<String> {
    let text = |value: &Value| value.get("message").and_then(Value::as_str).map(str::to_owned);
    let inner = || value.as_object()?.values().find_map(text);
    let plain = || value.as_object()?.values().find_map(Value::as_str).map(str::to_owned);
    // An error of middlewares: {"errors": [{"title", "detail"}]} (api-sig).
    let listed = || {
        let first = value.get("errors")?.as_array()?.first()?;
        first.get("detail").or_else(|| first.get("title"))?.as_str().map(str::to_owned)
    };
    text(value).or_else(inner).or_else(listed).or_else(plain)
}

/// Nova: 403 (413 before Kilo), `Quota exceeded for ..` or `Maximum number of metadata items exceeds ..`. Neutron, and Nova on
/// its behalf: 409 or 403.
fn is_quota(status: u16, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    matches!(status, 403 | 409 | 413) && (message.contains("quota") || message.contains("maximum number of "))
}

impl CallError {
    pub fn is_status(&self, wanted: u16) -> bool {
        matches!(self.kind, CallErrorKind::Status { status, .. } if status == wanted)
    }

    /// For a read. `cloud`: as people know it, `cloud x of FILE`.
    pub fn gap(self, source: Source, cloud: &str) -> Gap {
        // Of a change it says that the object is gone; a list or a login is never gone.
        let hint = if self.is_status(404) {
            Some(self.elsewhere("the service knows no such URL: check", cloud))
        } else {
            self.hint(cloud)
        };
        Gap { source, tried: self.tried, answered: self.said, hint }
    }

    /// For a change. `place` is the provider's name.
    pub fn act_error(self, place: &str, cloud: &str) -> ActError {
        let hint = self.hint(cloud);
        ActError { kind: self.act_kind(), said: self.said, tried: format!("{} in {place}", self.tried), hint }
    }

    fn act_kind(&self) -> ActErrorKind {
        match self.kind {
            // An error inside the service or before it (5xx): what was asked for may have been done.
            CallErrorKind::NoAnswer { sent: true, .. }
            | CallErrorKind::Unreadable
            | CallErrorKind::Foreign
            | CallErrorKind::Status { status: 500.., .. } => ActErrorKind::Unanswered,
            CallErrorKind::Status { quota: true, .. } => ActErrorKind::Quota,
            CallErrorKind::NoAnswer { kind: HttpErrorKind::Invalid, .. } | CallErrorKind::NoEndpoint | CallErrorKind::Setup => {
                ActErrorKind::Refused
            }
            CallErrorKind::NoAnswer { .. } | CallErrorKind::Status { status: 408 | 409 | 413 | 425 | 429, .. } => {
                ActErrorKind::NotNow
            }
            CallErrorKind::Status { .. } => ActErrorKind::Refused,
        }
    }

    fn hint(&self, cloud: &str) -> Option<String> {
        Some(match self.kind {
            CallErrorKind::Status { quota: true, .. } => "free some of the project's quota, or have it raised".to_owned(),
            CallErrorKind::Status { status: 400, .. } => {
                "it does not take what the desired state asks for: correct the pool or the provider".to_owned()
            }
            CallErrorKind::Status { status: 401, .. } => format!("check the user and the secret of {cloud}"),
            CallErrorKind::Status { status: 403, .. } if self.said.to_ascii_lowercase().contains("policy") => {
                format!("the user of {cloud} lacks a role in the project (`member` is enough)")
            }
            CallErrorKind::Status { status: 429, .. } => "it has had too many calls: the next run looks again".to_owned(),
            CallErrorKind::Status { status: 300..=399, .. } => self.elsewhere("redirects are not followed: check", cloud),
            CallErrorKind::Status { status: 500.., .. } => {
                "a fault of the service or of a proxy before it: their logs tell more, and the next run looks again".to_owned()
            }
            CallErrorKind::NoAnswer { kind, .. } => self.unanswered(kind, cloud)?,
            CallErrorKind::Foreign => self.elsewhere("something else answers there, or a proxy cut the answer off: check", cloud),
            CallErrorKind::NoEndpoint => {
                format!("correct `region` of the provider in controller.yaml, or `region_name` or `interface` of {cloud}")
            }
            CallErrorKind::Status { .. } | CallErrorKind::Unreadable | CallErrorKind::Setup => return None,
        })
    }

    fn unanswered(&self, kind: HttpErrorKind, cloud: &str) -> Option<String> {
        Some(match kind {
            HttpErrorKind::Tls => {
                format!("is it plain `http://`? If not, name the file of the certificate's authority: `cacert` of {cloud}")
            }
            HttpErrorKind::Dns | HttpErrorKind::Refused => {
                self.elsewhere("is it up, and reachable from here? If so, check", cloud)
            }
            HttpErrorKind::Timeout => {
                "is it overloaded, or does a firewall drop what is sent? A call may take `api-timeout` of the provider".to_owned()
            }
            HttpErrorKind::Invalid if self.is_login() => {
                format!("correct `auth_url` of {cloud}: it begins with https:// or http://")
            }
            HttpErrorKind::Broken => "did the service or a proxy before it restart? The next run looks again".to_owned(),
            HttpErrorKind::Invalid | HttpErrorKind::NoTimeLeft => return None,
        })
    }

    fn is_login(&self) -> bool {
        self.tried.ends_with("/auth/tokens")
    }

    /// Where the address stands that was asked.
    fn elsewhere(&self, why: &str, cloud: &str) -> String {
        if self.is_login() {
            return format!("{why} `auth_url` of {cloud}");
        }
        let from = self.from.as_ref().map(|from| format!(" ({from})")).unwrap_or_default();
        format!("{why} the address in Keystone's catalog{from}, or give {cloud} another by `*_endpoint_override`")
    }
}
