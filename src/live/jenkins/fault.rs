//! What an answer that is no success means, in Jenkins' own words, and what a person can do.

use crate::live::http::{HttpError, HttpErrorKind, Response, log};
use crate::names::TargetName;
use crate::observed::{Gap, Source};
use crate::world::{ActError, ActErrorKind};

/// A request without an answer.
pub fn no_answer(tried: String, error: &HttpError) -> ActError {
    let kind = match (error.sent, error.kind) {
        (true, _) => ActErrorKind::Unanswered,
        (false, HttpErrorKind::Invalid) => ActErrorKind::Refused,
        (false, _) => ActErrorKind::NotNow,
    };
    let hint = match error.kind {
        HttpErrorKind::Refused | HttpErrorKind::Dns => {
            Some("check the target's `url` in controller.yaml, and whether the controller runs")
        }
        HttpErrorKind::Tls => {
            Some("is it plain `http://`? If not, this machine must trust the certificate's authority (ca-certificates)")
        }
        HttpErrorKind::Timeout => Some("is the controller overloaded, or does a firewall drop what is sent?"),
        HttpErrorKind::Broken => Some("did the controller or a proxy before it restart? The next run looks again"),
        HttpErrorKind::Invalid => Some("check the target's `url` in controller.yaml"),
        HttpErrorKind::NoTimeLeft => None,
    };
    ActError { kind, said: error.to_string(), tried, hint: hint.map(str::to_owned) }
}

/// An answer with a status that was not hoped for. A controller that starts answers 401, 403 and 503 for a while, also to a
/// valid token: none of them is its last word.
pub fn unexpected(tried: String, response: &Response) -> ActError {
    let permission = response.header("x-required-permission");
    let (kind, hint) = match response.status {
        401 => (ActErrorKind::NotNow, Some(CREDENTIALS.to_owned())),
        403 => match permission {
            Some(name) => (ActErrorKind::Refused, Some(format!("give the target's user the permission {name}"))),
            None => (ActErrorKind::NotNow, Some(CREDENTIALS.to_owned())),
        },
        409 | 429 => (ActErrorKind::NotNow, None),
        502..=504 => (ActErrorKind::NotNow, Some(STARTS.to_owned())),
        301..=303 | 307 | 308 => (ActErrorKind::Refused, Some(redirect_hint(response))),
        _ => (ActErrorKind::Refused, None),
    };
    let words = words(response);
    let said = if words.is_empty() { format!("HTTP {}", response.status) } else { format!("HTTP {}: {words}", response.status) };
    ActError { kind, said, tried, hint }
}

/// Of a success that is none of Jenkins' answers.
pub const FOREIGN: &str = "something else answers there, a login page for example, or a proxy cut the answer off: check the \
                           target's `url` in controller.yaml, and that its user is let in without a login page";

const STARTS: &str = "a controller that starts, or a proxy before one that is down: the next run looks again";

const NOT_THERE: &str = "check the target's `url` in controller.yaml: it is Jenkins' root, often with a path such as /ci/";

const CREDENTIALS: &str = "a controller that starts refuses everybody for a moment; if it stays so, check the target's \
                           `user`, its token or password, and the user's permissions";

fn redirect_hint(response: &Response) -> String {
    let to = response.header("location").map(log::url).unwrap_or_default();
    format!("it redirects to {to}: check the target's `url`, and that its user is let in without a login page")
}

/// The answer's own words: Jenkins' header for them, the text under its `Error` heading, or the page's title.
pub fn words(response: &Response) -> String {
    if let Some(error) = response.header("x-error") {
        return cut(error);
    }
    let text = response.text();
    if let Some((_, page)) = text.split_once("<h1>Error</h1>") {
        return cut(&log::without_markup(page));
    }
    if response.is_html() { log::html_title(&text) } else { log::body_start(&response.body) }
}

fn cut(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(160).collect()
}

/// The same as what could not be seen.
pub fn gap(target: &TargetName, error: ActError) -> Gap {
    // Of a change it says that the agent is gone; the list is never gone.
    let hint = error.hint.or_else(|| error.said.starts_with("HTTP 404").then(|| NOT_THERE.to_owned()));
    let error = ActError { hint, ..error };
    Gap { source: Source::Target(target.clone()), tried: error.tried, answered: error.said, hint: error.hint }
}
