//! Keystone v3: a token, the catalog that comes with it, and which endpoint of a service is ours. Asks Keystone alone.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fault::{self, CallError};
use super::identity::{CloudConfig, Identity};
use crate::live::http::{Client, Request, Response, log};

/// A token this near to its end is not used any more: Nova passes it on to Glance and Neutron while it builds.
const TOO_OLD: SignedDuration = SignedDuration::from_mins(5);

/// A token, and what Keystone said with it.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub secret: SecretString,
    pub facts: TokenFacts,
}

/// What of a token is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenFacts {
    pub expires: Timestamp,
    pub user: String,
    pub project: String,
    pub project_id: String,
    pub catalog: Vec<CatalogEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CatalogEntry {
    #[serde(rename = "type")]
    pub kind: String,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Endpoint {
    pub interface: String,
    /// `region_id`; `region` is its old name.
    pub region: Option<String>,
    pub url: String,
}

impl Token {
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.facts.expires.duration_since(now) > TOO_OLD
    }
}

/// The services that are asked, each with the types that catalogs have for it and the version that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    Compute,
    Image,
    Network,
}

impl Service {
    /// The official type first (service-types-authority), then what older catalogs have.
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Compute => &["compute", "computev21"],
            Self::Image => &["image", "imagev2"],
            Self::Network => &["network", "networkv2"],
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Compute => "v2.1",
            Self::Image => "v2",
            Self::Network => "v2.0",
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: TokenBody,
}

#[derive(Deserialize)]
struct TokenBody {
    expires_at: Timestamp,
    user: NameOnly,
    project: Option<ProjectBody>,
    #[serde(default)]
    catalog: Vec<CatalogBody>,
}

#[derive(Deserialize)]
struct ProjectBody {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct NameOnly {
    name: String,
}

#[derive(Deserialize)]
struct CatalogBody {
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<EndpointBody>,
}

#[derive(Deserialize)]
struct EndpointBody {
    interface: String,
    region_id: Option<String>,
    region: Option<String>,
    url: String,
}

/// A new token.
pub(super) fn authenticate(client: &Client, config: &CloudConfig) -> Result<Token, CallError> {
    let request = Request::post(format!("{}/auth/tokens", config.auth_url)).json(body(config)).idempotent();
    let tried = format!("POST {}/auth/tokens", config.auth_url);
    let response = client.send(&request).map_err(|error| fault::no_answer(&tried, &error))?;
    if !response.is_success() {
        return Err(fault::refused(&tried, &response));
    }
    let Some(secret) = response.header("x-subject-token").filter(|token| !token.is_empty()).map(SecretString::from) else {
        let said = if response.is_html() { "HTML instead of a token" } else { "no X-Subject-Token" };
        return Err(fault::foreign(&tried, &response, &format!("{said}: {}", start(&response))));
    };
    let answer: TokenAnswer = response.json().map_err(|said| fault::foreign(&tried, &response, &said))?;
    let Some(project) = answer.token.project else {
        return Err(fault::unreadable(&tried, &response, "a token of no project"));
    };
    let catalog = answer.token.catalog.into_iter().map(|entry| {
        let endpoints = entry.endpoints.into_iter().map(|endpoint| Endpoint {
            interface: endpoint.interface,
            region: endpoint.region_id.or(endpoint.region),
            url: endpoint.url,
        });
        CatalogEntry { kind: entry.kind, endpoints: endpoints.collect() }
    });
    let facts = TokenFacts {
        expires: answer.token.expires_at,
        user: answer.token.user.name,
        project: project.name,
        project_id: project.id,
        catalog: catalog.collect(),
    };
    Ok(Token { secret, facts })
}

/// Of an answer that is none of Keystone's.
fn start(response: &Response) -> String {
    if response.is_html() { log::html_title(&response.text()) } else { log::body_start(&response.body) }
}

fn body(config: &CloudConfig) -> Value {
    let identity = match &config.identity {
        Identity::Password { user, password } => {
            let mut user = user.json("domain");
            if let Some(user) = user.as_object_mut() {
                user.insert("password".to_owned(), Value::from(password.expose_secret()));
            }
            json!({"methods": ["password"], "password": {"user": user}})
        }
        Identity::Token(token) => json!({"methods": ["token"], "token": {"id": token.expose_secret()}}),
        Identity::ApplicationCredential { credential, secret } => {
            let mut credential = credential.json("user");
            if let Some(credential) = credential.as_object_mut() {
                credential.insert("secret".to_owned(), Value::from(secret.expose_secret()));
            }
            json!({"methods": ["application_credential"], "application_credential": credential})
        }
    };
    match (&config.scope, &config.identity) {
        // Keystone refuses a scope beside an application credential, whatever it is.
        (_, Identity::ApplicationCredential { .. }) | (None, _) => json!({"auth": {"identity": identity}}),
        (Some(scope), _) => json!({"auth": {"identity": identity, "scope": {"project": scope.json("domain")}}}),
    }
}

/// A service's URL with its version, without a slash at its end: from clouds.yaml's `*_endpoint_override`, else from the
/// catalog, by region and interface. The error is for people.
pub(super) fn endpoint(config: &CloudConfig, catalog: &[CatalogEntry], service: Service) -> Result<String, String> {
    let types = service.types();
    let setting = |what: &str| types.iter().find_map(|kind| config.settings.get(&format!("{kind}_{what}")));
    if let Some(url) = setting("endpoint_override") {
        return Ok(versioned(url, service));
    }
    let interface = setting("interface").map_or(config.interface.as_str(), |text| text.trim_end_matches("URL"));
    let kind = types.first().copied().unwrap_or_default();
    let Some(entry) = types.iter().find_map(|kind| catalog.iter().find(|entry| entry.kind == *kind)) else {
        let has: Vec<&str> = catalog.iter().map(|entry| entry.kind.as_str()).collect();
        return Err(format!("the catalog has no service `{kind}` (it has: {})", listed(&has)));
    };
    let here = |endpoint: &&Endpoint| config.region.is_none() || endpoint.region.is_none() || endpoint.region == config.region;
    let in_region: Vec<&Endpoint> = entry.endpoints.iter().filter(here).collect();
    if in_region.is_empty() {
        let has: Vec<&str> = entry.endpoints.iter().filter_map(|endpoint| endpoint.region.as_deref()).collect();
        let region = config.region.as_deref().unwrap_or_default();
        return Err(format!("the service `{kind}` has no region `{region}` (it has: {})", listed(&has)));
    }
    // Keystone may be asked for v2-style names of interfaces.
    let found = in_region.iter().find(|endpoint| endpoint.interface.trim_end_matches("URL") == interface);
    found.map(|endpoint| versioned(&endpoint.url, service)).ok_or_else(|| {
        let has: Vec<&str> = in_region.iter().map(|endpoint| endpoint.interface.as_str()).collect();
        format!("the service `{kind}` has no `{interface}` endpoint (it has: {})", listed(&has))
    })
}

fn listed(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// `v2.1` and the like, as a segment of a URL.
pub(super) fn is_version(segment: &str) -> bool {
    let digits =
        |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    segment.strip_prefix('v').is_some_and(digits)
}

/// Catalogs have `http://host:9292`, `https://host/image/v2`, `http://host:8774/v2.1/<project>`: a version that is there is
/// kept but for Glance's dead v1, one that is missing is ours.
fn versioned(url: &str, service: Service) -> String {
    let url = url.trim_end_matches('/');
    match service {
        Service::Image | Service::Network => match url.rsplit_once('/') {
            Some((root, last)) if is_version(last) => format!("{root}/{}", service.version()),
            Some(_) | None => format!("{url}/{}", service.version()),
        },
        Service::Compute if url.split('/').any(is_version) => url.to_owned(),
        Service::Compute => format!("{url}/{}", service.version()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_endpoints() {
        let cases = [
            ("http://h:9292", Service::Image, "http://h:9292/v2"),
            ("https://h/image/v2/", Service::Image, "https://h/image/v2"),
            ("http://h:9292/v1", Service::Image, "http://h:9292/v2"),
            ("http://h:9696", Service::Network, "http://h:9696/v2.0"),
            ("http://h:8774/v2.1/0a1b", Service::Compute, "http://h:8774/v2.1/0a1b"),
            ("https://h/compute", Service::Compute, "https://h/compute/v2.1"),
        ];
        for (url, service, expected) in cases {
            assert_eq!(versioned(url, service), expected);
        }
    }
}
