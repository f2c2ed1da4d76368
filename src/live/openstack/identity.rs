//! One cloud's settings: who we are, where Keystone is, which endpoints count. Read from a merged entry of clouds.yaml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::clouds_yaml::{CloudError, error};

/// Everything that is needed to log in. Debug shows no secret.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// The file it is from, or `OS_* variables`.
    pub file: String,
    pub cloud: String,
    /// With `/v3` at its end, no slash.
    pub auth_url: String,
    pub identity: Identity,
    /// None: the application credential's own.
    pub scope: Option<Scope>,
    pub region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    pub verify: bool,
    pub cacert: Option<PathBuf>,
    pub client_cert: Option<(PathBuf, Option<PathBuf>)>,
    /// `<service type>_endpoint_override` and `<service type>_interface`.
    pub settings: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub enum Identity {
    Password { user: Named, password: SecretString },
    Token(SecretString),
    ApplicationCredential { credential: Named, secret: SecretString },
}

/// Something that has an id, or a name in a domain (for an application credential: of a user).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Id(String),
    Name { name: String, within: Value },
}

pub(super) type Scope = Named;

const AUTH_TYPES: &str = "password, token, v3applicationcredential";

/// Keys that openstacksdk also takes for another; the last one wins.
const OLD_NAMES: &[(&str, &str)] = &[
    ("tenant_id", "project_id"),
    ("tenant_name", "project_name"),
    ("user_name", "username"),
    ("auth_token", "token"),
    ("auth_plugin", "auth_type"),
    ("endpoint_type", "interface"),
];

/// The keys of `auth:` and those beside it in one map: `auth:` wins, and the new name wins over the old.
fn flat(mut cloud: Map<String, Value>) -> BTreeMap<String, String> {
    let auth = cloud.remove("auth");
    let inner = match auth {
        Some(Value::Object(auth)) => auth,
        Some(_) | None => Map::new(),
    };
    let mut values = BTreeMap::new();
    for (key, value) in cloud.into_iter().chain(inner) {
        let text = match value {
            Value::String(text) => text,
            Value::Bool(yes) => yes.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        values.insert(key, text);
    }
    for (old, new) in OLD_NAMES {
        if let Some(value) = values.remove(*old) {
            values.entry((*new).to_owned()).or_insert(value);
        }
    }
    values
}

/// Values that are texts, whatever they look like.
const TEXTS: &[&str] = &[
    "password",
    "token",
    "username",
    "user_id",
    "project_name",
    "project_id",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
];

/// A text such as `7807e0` or `12.50` that YAML took for a number: what was written cannot be known any more.
fn lost(cloud: &Map<String, Value>) -> Option<&'static str> {
    let inner = cloud.get("auth").and_then(Value::as_object);
    let is_lost = |map: &Map<String, Value>, key: &str| matches!(map.get(key), Some(Value::Number(number)) if number.is_f64());
    TEXTS.iter().copied().find(|key| is_lost(cloud, key) || inner.is_some_and(|inner| is_lost(inner, key)))
}

fn is_true(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "1" | "on")
}

pub(super) fn read(
    file: &str,
    cloud: &str,
    entry: Map<String, Value>,
    region: Option<&str>,
    home: Option<&Path>,
) -> Result<CloudConfig, CloudError> {
    let at = format!("{file}: cloud `{cloud}`");
    if let Some(key) = lost(&entry) {
        return Err(error(format!("{at}: YAML reads the `{key}` as a number, and its digits are lost"), "put it into quotes"));
    }
    let mut values = flat(entry);
    let Some(auth_url) = values.remove("auth_url") else {
        let hint = if values.contains_key("profile") {
            "vendor profiles are not read: write the `auth_url` out"
        } else {
            "give it an `auth_url`, such as https://keystone.example.org:5000/v3"
        };
        return Err(error(format!("{at} has no `auth_url`"), hint));
    };
    let identity = identity(&at, &mut values)?;
    let scope = scope(&values);
    if scope.is_none() && !matches!(identity, Identity::ApplicationCredential { .. }) {
        return Err(error(format!("{at} names no project"), "give it a `project_name` or a `project_id`"));
    }
    let path = |text: &String| match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    };
    let verify =
        values.get("verify").is_none_or(|text| is_true(text)) && !values.get("insecure").is_some_and(|text| is_true(text));
    // Old files had a list there, separated by commas; its first is the default.
    let listed =
        values.get("region_name").and_then(|names| names.split(',').next()).map(str::trim).filter(|name| !name.is_empty());
    Ok(CloudConfig {
        file: file.to_owned(),
        cloud: cloud.to_owned(),
        auth_url: v3(&auth_url),
        identity,
        scope,
        region: region.or(listed).map(str::to_owned),
        interface: values.get("interface").map_or("public", |text| text.trim_end_matches("URL")).to_owned(),
        verify,
        cacert: values.get("cacert").map(path),
        client_cert: values.get("cert").map(|cert| (path(cert), values.get("key").map(path))),
        // Nothing else is kept: there may be secrets of other kinds of login in it.
        settings: values
            .into_iter()
            .filter(|(key, _)| key.ends_with("_endpoint_override") || key.ends_with("_interface"))
            .collect(),
    })
}

/// Takes the secrets out of `values`.
fn identity(at: &str, values: &mut BTreeMap<String, String>) -> Result<Identity, CloudError> {
    let password = values.remove("password").map(SecretString::from);
    let token = values.remove("token").map(SecretString::from);
    let secret = values.remove("application_credential_secret").map(SecretString::from);
    let kind = values.get("auth_type").map(String::as_str).filter(|kind| !kind.is_empty());
    match kind {
        Some("v3applicationcredential") => application_credential(at, values, secret),
        None if secret.is_some() && password.is_none() => application_credential(at, values, secret),
        Some("token" | "v3token") => {
            let hint = "give it a `token`, or another `auth_type`";
            token.map(Identity::Token).ok_or_else(|| error(format!("{at} has no `token`"), hint))
        }
        None | Some("password" | "v3password") => match (user(values), password, token) {
            (Some(user), Some(password), _) => Ok(Identity::Password { user, password }),
            (_, None, Some(token)) => Ok(Identity::Token(token)),
            (None, ..) => Err(error(format!("{at} names no user"), "give it a `username` or a `user_id`")),
            (_, None, None) => Err(error(format!("{at} has no `password`"), "put it into secure.yaml, beside clouds.yaml")),
        },
        Some(other) => Err(error(format!("{at}: auth_type `{other}` is not supported"), format!("supported: {AUTH_TYPES}"))),
    }
}

fn application_credential(
    at: &str,
    values: &BTreeMap<String, String>,
    secret: Option<SecretString>,
) -> Result<Identity, CloudError> {
    let Some(secret) = secret else {
        return Err(error(format!("{at} has no `application_credential_secret`"), "put it into secure.yaml, beside clouds.yaml"));
    };
    let credential = match (values.get("application_credential_id"), values.get("application_credential_name"), user(values)) {
        (Some(id), ..) => Named::Id(id.clone()),
        (None, Some(name), Some(user)) => Named::Name { name: name.clone(), within: user.json("domain") },
        (None, Some(_), None) => {
            let said = format!("{at} names an application credential, but not its user");
            return Err(error(said, "give it a `username`, or the `application_credential_id`"));
        }
        (None, None, _) => return Err(error(format!("{at} has no `application_credential_id`"), "give it one")),
    };
    Ok(Identity::ApplicationCredential { credential, secret })
}

fn user(values: &BTreeMap<String, String>) -> Option<Named> {
    named(values, "user_id", "username", "user")
}

fn scope(values: &BTreeMap<String, String>) -> Option<Scope> {
    named(values, "project_id", "project_name", "project")
}

/// A domain that is nowhere given is the one that every Keystone has.
fn named(values: &BTreeMap<String, String>, id: &str, name: &str, kind: &str) -> Option<Named> {
    if let Some(id) = values.get(id) {
        return Some(Named::Id(id.clone()));
    }
    let ids = [format!("{kind}_domain_id"), "domain_id".to_owned(), "default_domain_id".to_owned()];
    let names = [format!("{kind}_domain_name"), "domain_name".to_owned(), "default_domain_name".to_owned()];
    let mut domains = ids.iter().zip(&names).filter_map(|(id, name)| {
        let id = values.get(id).map(|id| json!({"id": id}));
        id.or_else(|| values.get(name).map(|name| json!({"name": name})))
    });
    let within = domains.next().or_else(|| values.get("default_domain").map(|id| json!({"id": id})));
    let within = within.unwrap_or_else(|| json!({"id": "default"}));
    values.get(name).map(|name| Named::Name { name: name.clone(), within })
}

impl Named {
    /// As Keystone takes it. `within` is the key of what the name is in.
    pub(super) fn json(&self, within_key: &str) -> Value {
        match self {
            Self::Id(id) => json!({"id": id}),
            Self::Name { name, within } => json!({"name": name, within_key: within}),
        }
    }
}

/// Keystone's v3 root, whatever version the file has.
fn v3(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix("/v2.0").or_else(|| url.strip_suffix("/v3")).unwrap_or(url);
    format!("{url}/v3")
}

impl CloudConfig {
    /// What a token is for, without a secret (the same text, the same token), and the secret that logs in.
    pub(super) fn login(&self) -> Option<(String, &SecretString)> {
        let (who, secret) = match &self.identity {
            Identity::Password { user, password } => (user.json("domain"), password),
            Identity::ApplicationCredential { credential, secret } => {
                (json!({"application_credential": credential.json("user")}), secret)
            }
            // Says nothing of whose it is.
            Identity::Token(_) => return None,
        };
        let scope = self.scope.as_ref().map(|scope| scope.json("domain"));
        Some((json!([self.auth_url, self.cloud, who, scope]).to_string(), secret))
    }
}
