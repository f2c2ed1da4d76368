//! What of a request and an answer is shown in a log or an error: pure text, secrets taken out. Sends nothing.

use serde_json::Value;

use super::{Body, HeaderText, HttpError, Request, Response};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Enough of a body to know it again; a list of servers would fill the screen.
const SHOWN: usize = 1500;

/// Parts of names (of headers, fields, query keys) whose values are secret, in small letters. `token` also covers
/// Keystone's whole answer, `crumb` Jenkins' field of that name.
const SECRET_NAMES: &[&str] =
    &["password", "passwd", "adminpass", "secret", "token", "crumb", "cookie", "authorization", "user_data", "private", "output"];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

pub(super) fn sent(request: &Request) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(tried = %request.tried(), headers = %headers(request), body = %request_body(&request.body), "request");
    }
}

pub(super) fn answered(request: &Request, result: &Result<Response, HttpError>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    match result {
        Ok(response) => {
            let body = response_body(response);
            let id = response.request_id().unwrap_or("-");
            tracing::debug!(tried = %request.tried(), status = response.status, request_id = id, body = %body, "answer");
        }
        Err(error) => tracing::debug!(tried = %request.tried(), error = %error, "no answer"),
    }
}

/// A URL without a password, and with the values of secret query keys hidden.
pub fn url(url: &str) -> String {
    let (start, query) = url.split_once('?').map_or((url, None), |(start, query)| (start, Some(query)));
    let start = match start.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
            let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            path.map_or_else(|| format!("{scheme}://{authority}"), |path| format!("{scheme}://{authority}/{path}"))
        }
        None => start.to_owned(),
    };
    let Some(query) = query else { return start };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        Some(_) | None => pair.to_owned(),
    });
    format!("{start}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// A URL without a password and without its query: where something is, not what was asked.
pub fn address(url: &str) -> String {
    let mut address = self::url(url);
    address.truncate(address.find('?').unwrap_or(address.len()));
    address
}

pub(super) fn headers(request: &Request) -> String {
    let shown = request.headers.iter().map(|(name, text)| match text {
        HeaderText::Plain(text) if !is_secret(name) => format!("{name}: {text}"),
        HeaderText::Plain(_) | HeaderText::Secret(_) => format!("{name}: {HIDDEN}"),
    });
    shown.collect::<Vec<_>>().join("; ")
}

pub(super) fn request_body(body: &Body) -> String {
    match body {
        Body::None => "none".to_owned(),
        Body::Json(value) => cut(&hidden(value).to_string()),
        Body::Form(fields) => {
            let shown = fields.iter().map(|(name, value)| match serde_json::from_str::<Value>(value) {
                _ if is_secret(name) => format!("{name}={HIDDEN}"),
                Ok(json @ (Value::Object(_) | Value::Array(_))) => format!("{name}={}", hidden(&json)),
                Ok(_) | Err(_) => format!("{name}={value}"),
            });
            cut(&shown.collect::<Vec<_>>().join("&"))
        }
        Body::Bytes { content_type, bytes } => format!("{} bytes of {content_type}", bytes.len()),
        Body::Stream(stream) => format!("a stream of {} bytes", stream.length),
    }
}

/// Only JSON is shown: an agent's secret comes in XML, a script's output as text.
fn response_body(response: &Response) -> String {
    match serde_json::from_slice::<Value>(&response.body) {
        Ok(value) => cut(&hidden(&value).to_string()),
        Err(_) => format!("{} bytes of {}", response.body.len(), response.header("content-type").unwrap_or("unknown type")),
    }
}

/// The same value with every secret hidden, at any depth.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let shown = map.iter().map(|(name, value)| {
                let value = if is_secret(name) && !value.is_null() { Value::from(HIDDEN) } else { hidden(value) };
                (name.clone(), value)
            });
            Value::Object(shown.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(hidden).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The start of a body that is not what was asked for.
pub fn body_start(body: &[u8]) -> String {
    let text = serde_json::from_slice::<Value>(body)
        .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |value| hidden(&value).to_string());
    let start: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect();
    if start.trim().is_empty() { "(nothing)".to_owned() } else { start }
}

/// A page's title, or its text without markup: its first words are all that a person needs.
pub fn html_title(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let start = start + lower.get(start..)?.find('>')? + 1;
        let end = start + lower.get(start..)?.find("</title")?;
        html.get(start..end).map(str::to_owned)
    });
    let text = title.filter(|title| !title.trim().is_empty()).unwrap_or_else(|| without_markup(html));
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(120).collect()
}

/// A text without its tags, each a space. A `<` that begins none, or one that never ends, stays.
pub fn without_markup(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let is_tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        match after.split_once('>') {
            Some((_, behind)) if is_tag => {
                text.push(' ');
                rest = behind;
            }
            Some(_) | None => {
                text.push('<');
                rest = after;
            }
        }
    }
    text + rest
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str(" ...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_no_password() {
        assert_eq!(url("http://user:pw@host:1/a/b?x=1&token=abc"), "http://host:1/a/b?x=1&token=***");
        assert_eq!(url("https://host"), "https://host");
        assert_eq!(address("http://user:pw@host:1/a/b?x=1&token=abc"), "http://host:1/a/b");
        assert_eq!(url("http://host/mail@example"), "http://host/mail@example");
    }

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let value = serde_json::json!({"auth": {"identity": {"password": {"user": {"password": "hunter2"}}}}, "name": "n"});
        let shown = hidden(&value).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains(r#""name":"n""#), "{shown}");
    }

    #[test]
    fn titles_of_pages() {
        assert_eq!(html_title("<html><head><TITLE>\nSign in\n</TITLE>"), "Sign in");
        assert_eq!(html_title("<html><body><h1>502 Bad Gateway</h1></body>"), "502 Bad Gateway");
    }
}
