//! Calls with a token: the login at the first one, its renewal at a 401, the endpoint, Nova's microversion. What is asked
//! and what it means is `nova`'s, `glance`'s and `neutron`'s.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;

use super::auth::{self, Service, Token};
use super::fault::{self, CallError};
use super::identity::CloudConfig;
use super::token_cache::{Microversion, TokenCache};
use crate::live::http::{Client, HttpError, HttpErrorKind, Request, Response};

/// Reads the clock: the run's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The newest microversion whose answers we know.
const NEWEST: (u32, u32) = (2, 90);

/// A cloud that is logged in to when it is first asked.
pub(super) struct Session {
    client: Client,
    pub config: CloudConfig,
    cache: Option<TokenCache>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    microversion: Option<Microversion>,
    /// Keystone's no to our credentials: a second try with the same ones could lock the account.
    refused: Option<CallError>,
    cache_is_read: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Session({:?})", self.config)
    }
}

impl Session {
    pub(super) fn new(config: CloudConfig, client: Client, cache_dir: Option<&Path>, clock: Clock) -> Self {
        let cache = cache_dir.zip(config.login()).map(|(dir, (fingerprint, secret))| TokenCache::new(dir, &fingerprint, secret));
        Self { client, config, cache, clock, state: Mutex::default() }
    }

    /// HTTP requests sent so far.
    pub(super) fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// The token in use, after a login when there is none that will do.
    pub(super) fn token(&self) -> Result<Arc<Token>, CallError> {
        self.token_other_than(None)
    }

    /// `stale` is a token that a service has refused. Threads that bring the same one share one login.
    fn token_other_than(&self, stale: Option<&Arc<Token>>) -> Result<Arc<Token>, CallError> {
        // A thread that panicked here left values that are whole: each is set at once.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.cache_is_read, true)
            && let Some((token, microversion)) = self.cache.as_ref().and_then(TokenCache::load)
        {
            state.token = Some(Arc::new(token));
            state.microversion = microversion;
        }
        if let Some(token) = &state.token
            && stale.is_none_or(|stale| !Arc::ptr_eq(stale, token))
            && token.is_fresh((self.clock)())
        {
            return Ok(Arc::clone(token));
        }
        if let Some(refused) = &state.refused {
            return Err(refused.clone());
        }
        state.token = None;
        match auth::authenticate(&self.client, &self.config) {
            Ok(token) => {
                let token = Arc::new(token);
                state.token = Some(Arc::clone(&token));
                self.save(&state);
                Ok(token)
            }
            Err(error) => {
                if error.is_status(401) || error.is_status(403) {
                    state.refused = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    fn save(&self, state: &State) {
        let (Some(cache), Some(token)) = (&self.cache, &state.token) else { return };
        if let Err(error) = cache.save(token, state.microversion.as_ref()) {
            tracing::debug!(%error, "the token is not kept for the next run");
        }
    }

    /// One call. `path` begins with a slash and follows the service's version; `build` makes the request from the URL. A
    /// 401 brings one new login and one repetition: it says that nothing was done.
    pub(super) fn call(
        &self,
        service: Service,
        path: &str,
        build: impl Fn(String) -> Request,
    ) -> Result<(String, Response), CallError> {
        self.call_by(service, path, build, &mut |request| self.client.send(request))
    }

    /// As `call` of a GET, but the body of a success goes to `take` as it comes.
    pub(super) fn download(
        &self,
        service: Service,
        path: &str,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(String, Response), CallError> {
        self.call_by(service, path, Request::get, &mut |request| self.client.download(request, take))
    }

    fn call_by(
        &self,
        service: Service,
        path: &str,
        build: impl Fn(String) -> Request,
        send: &mut dyn FnMut(&Request) -> Result<Response, HttpError>,
    ) -> Result<(String, Response), CallError> {
        let mut token = self.token()?;
        for again in [true, false] {
            let base = self.endpoint(&token, service, path)?;
            let request = build(format!("{base}{path}"));
            let tried = format!("{} {path}", request.method.as_str());
            let request = self.with_headers(request, service, &base, &token)?;
            let response = send(&request).map_err(|error| {
                self.doubt_catalog(error.kind);
                fault::no_answer(&tried, &error)
            })?;
            if response.status == 406 {
                self.forget_microversion();
            }
            if response.status != 401 || !again {
                return Ok((tried, response));
            }
            token = self.token_other_than(Some(&token))?;
        }
        Err(fault::setup(path, "no answer".to_owned()))
    }

    fn endpoint(&self, token: &Token, service: Service, path: &str) -> Result<String, CallError> {
        auth::endpoint(&self.config, &token.facts.catalog, service)
            .map_err(|said| fault::no_endpoint(&format!("looking for the endpoint of {path}"), said))
    }

    fn with_headers(&self, request: Request, service: Service, base: &str, token: &Token) -> Result<Request, CallError> {
        let request = request.header("Accept", "application/json").secret_header("X-Auth-Token", token.secret.clone());
        if service != Service::Compute {
            return Ok(request);
        }
        Ok(match self.microversion_of(base)? {
            // The second is for Nova before 2.27 (Newton).
            Some(version) => request
                .header("OpenStack-API-Version", format!("compute {version}"))
                .header("X-OpenStack-Nova-API-Version", version),
            None => request,
        })
    }

    /// What requests to Nova ask for; none: it has no microversions.
    pub(super) fn microversion(&self) -> Result<Option<String>, CallError> {
        let token = self.token()?;
        let base = self.endpoint(&token, Service::Compute, "/")?;
        self.microversion_of(&base)
    }

    fn microversion_of(&self, base: &str) -> Result<Option<String>, CallError> {
        let known =
            |state: &State| state.microversion.as_ref().filter(|known| known.url == base).map(|known| known.chosen.clone());
        if let Some(chosen) = known(&self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(chosen);
        }
        let url = version_root(base);
        let tried = format!("GET {url}");
        let request = Request::get(&url).header("Accept", "application/json");
        let response = self.client.send(&request).map_err(|error| fault::no_answer(&tried, &error))?;
        if !response.is_success() {
            return Err(fault::refused(&tried, &response));
        }
        let answer: VersionAnswer = response.json().map_err(|said| fault::foreign(&tried, &response, &said))?;
        let chosen = choose(&answer.version.min_version, &answer.version.version)
            .map_err(|said| fault::unreadable(&tried, &response, &said))?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.microversion = Some(Microversion { url: base.to_owned(), chosen: chosen.clone() });
        self.save(&state);
        Ok(chosen)
    }

    /// Nova does not speak the kept one any more: the next call asks which one.
    fn forget_microversion(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.microversion = None;
        self.save(&state);
    }

    /// An endpoint of a kept catalog that is not there any more: the next run asks Keystone again.
    fn doubt_catalog(&self, kind: HttpErrorKind) {
        if matches!(kind, HttpErrorKind::Refused | HttpErrorKind::Dns | HttpErrorKind::Tls)
            && let Some(cache) = &self.cache
        {
            cache.forget();
        }
    }
}

#[derive(Deserialize)]
struct VersionAnswer {
    version: VersionBody,
}

#[derive(Deserialize)]
struct VersionBody {
    #[serde(default)]
    version: String,
    #[serde(default)]
    min_version: String,
}

/// `http://host/v2.1/<project>` has its version's document at `http://host/v2.1/`.
fn version_root(base: &str) -> String {
    let mut root = String::new();
    for segment in base.split_inclusive('/') {
        root.push_str(segment);
        if auth::is_version(segment.trim_end_matches('/')) {
            break;
        }
    }
    format!("{}/", root.trim_end_matches('/'))
}

fn choose(min: &str, max: &str) -> Result<Option<String>, String> {
    let parse = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let Some(max) = parse(max) else { return Ok(None) };
    if parse(min).is_some_and(|min| min > NEWEST) {
        return Err(format!("Nova speaks {min} and newer, poolkeeper knows up to {}.{}", NEWEST.0, NEWEST.1));
    }
    let (major, minor) = max.min(NEWEST);
    Ok(Some(format!("{major}.{minor}")))
}

/// At least this microversion?
pub(super) fn speaks(microversion: Option<&str>, minor: u32) -> bool {
    microversion.and_then(|text| text.strip_prefix("2.")?.parse::<u32>().ok()).is_some_and(|spoken| spoken >= minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_microversion_that_both_know() {
        assert_eq!(choose("2.1", "2.93"), Ok(Some("2.90".to_owned())));
        assert_eq!(choose("2.1", "2.9"), Ok(Some("2.9".to_owned())));
        assert_eq!(choose("", ""), Ok(None));
        assert!(choose("2.95", "2.100").is_err());
        assert!(speaks(Some("2.90"), 37) && !speaks(Some("2.9"), 37) && !speaks(None, 1));
    }

    #[test]
    fn where_novas_version_document_is() {
        assert_eq!(version_root("http://h:8774/v2.1"), "http://h:8774/v2.1/");
        assert_eq!(version_root("https://h/compute/v2.1/0a1b2c"), "https://h/compute/v2.1/");
        assert_eq!(version_root("https://vm/v2.1"), "https://vm/v2.1/");
        assert_eq!(version_root("https://v2.example.org/v2.1/x"), "https://v2.example.org/v2.1/");
    }
}
