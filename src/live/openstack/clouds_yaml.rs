//! Credentials as openstacksdk finds them: clouds.yaml, secure.yaml and `OS_*` variables, into one cloud's settings.
//! Environment and directories are arguments. Nothing is asked of a cloud here.
//!
//! The rules are those of openstacksdk's `openstack/config/loader.py`. What it knows and poolkeeper has no use for is
//! passed over, as it does with what it does not know.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::identity::{self, CloudConfig};
use crate::desired::near;

/// Where credentials are looked for.
#[derive(Clone, Default)]
pub struct CloudsEnv {
    /// All variables whose name begins with `OS_`.
    pub vars: BTreeMap<String, String>,
    /// `$XDG_CONFIG_HOME/openstack`, where that is set.
    pub user_config_dir: Option<PathBuf>,
    /// `$HOME`: `~/.config/openstack`, and `~/` in the paths of the file.
    pub home: Option<PathBuf>,
    /// `/etc/xdg/openstack`, `/etc/openstack`: searched last, in this order.
    pub site_dirs: Vec<PathBuf>,
    /// The working directory: searched first. A timer must not read a file that lies about.
    pub current_dir: Option<PathBuf>,
}

/// Values of variables may be passwords.
impl fmt::Debug for CloudsEnv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.vars.keys().collect();
        out.debug_struct("CloudsEnv").field("vars", &names).field("dirs", &self.dirs()).finish_non_exhaustive()
    }
}

/// Why a cloud cannot be used: what was looked at, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    pub said: String,
    pub hint: Option<String>,
}

impl fmt::Display for CloudError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.said)
    }
}

impl std::error::Error for CloudError {}

pub(super) fn error(said: impl Into<String>, hint: impl Into<String>) -> CloudError {
    CloudError { said: said.into(), hint: Some(hint.into()) }
}

/// A file and its content.
type Found = (PathBuf, Map<String, Value>);

/// Variables that choose something and by themselves make no cloud.
const SELECTORS: &[&str] =
    &["OS_CLOUD", "OS_REGION_NAME", "OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE", "OS_CLOUD_NAME", "OS_CLIENT_VENDOR_FILE"];

/// Variables of test harnesses, no credentials.
const NOT_OURS: &[&str] = &["OS_TEST", "OS_STD", "OS_LOG"];

impl CloudsEnv {
    /// From the whole environment, as openstacksdk (by appdirs) reads it. `current_dir` is given only when a person runs
    /// us on a terminal.
    pub fn new(environment: &BTreeMap<String, String>, current_dir: Option<PathBuf>) -> Self {
        let var = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let home = var("HOME").map(PathBuf::from);
        // A snap's own $HOME is not the person's.
        let home = var("SNAP_REAL_HOME").map(PathBuf::from).or(home);
        let site = var("XDG_CONFIG_DIRS").map_or("/etc/xdg", String::as_str).split(':');
        let mut site_dirs: Vec<PathBuf> = site.map(|dir| Path::new(dir).join("openstack")).collect();
        site_dirs.push(PathBuf::from("/etc/openstack"));
        let vars = environment.iter().filter(|(name, _)| name.starts_with("OS_"));
        Self {
            vars: vars.map(|(name, value)| (name.clone(), value.clone())).collect(),
            user_config_dir: var("XDG_CONFIG_HOME").map(|dir| Path::new(dir).join("openstack")),
            home,
            site_dirs,
            current_dir,
        }
    }

    fn dirs(&self) -> Vec<PathBuf> {
        let dot_config = self.home.as_ref().map(|home| home.join(".config/openstack"));
        let mut dirs: Vec<PathBuf> = self.current_dir.iter().chain(&self.user_config_dir).chain(&dot_config).cloned().collect();
        dirs.extend(self.site_dirs.iter().cloned());
        dirs
    }

    fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The cloud that the variables make, and its name.
    fn envvars(&self) -> (String, Option<Map<String, Value>>) {
        let name = self.var("OS_CLOUD_NAME").unwrap_or("envvars").to_owned();
        let ours = |key: &&String| key.starts_with("OS_") && !NOT_OURS.iter().any(|not| key.starts_with(not));
        if self.vars.keys().filter(ours).all(|key| SELECTORS.contains(&key.as_str())) {
            return (name, None);
        }
        let values = self.vars.iter().filter(|(key, value)| ours(key) && !value.is_empty());
        let values = values.map(|(key, value)| (key.trim_start_matches("OS_").to_ascii_lowercase(), Value::from(value.as_str())));
        (name, Some(values.collect()))
    }

    /// The first file of that stem, read. `variable` names one that comes before all directories.
    fn first(&self, stem: &str, variable: &str) -> Result<Option<Found>, CloudError> {
        if let Some(path) = self.var(variable) {
            let path = PathBuf::from(path);
            // openstacksdk goes on to the next file; another cloud than the one that was named would be a bad surprise.
            let text = std::fs::read_to_string(&path).map_err(|why| {
                error(
                    format!("{}, which ${variable} names, cannot be read: {why}", path.display()),
                    "correct the variable or unset it",
                )
            })?;
            return Ok(Some((path.clone(), parse(&path, &text)?)));
        }
        for dir in self.dirs() {
            for suffix in ["yaml", "yml", "json"] {
                let path = dir.join(format!("{stem}.{suffix}"));
                match std::fs::read_to_string(&path) {
                    Ok(text) => return Ok(Some((path.clone(), parse(&path, &text)?))),
                    Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                    // As openstacksdk does: a file of somebody else's is none.
                    Err(why) if why.kind() == ErrorKind::PermissionDenied => {}
                    Err(why) => return Err(error(format!("{} cannot be read: {why}", path.display()), "is it a text file?")),
                }
            }
        }
        Ok(None)
    }

    fn searched(&self) -> String {
        let dirs: Vec<String> = self.dirs().iter().map(|dir| dir.display().to_string()).collect();
        dirs.join(", ")
    }
}

/// The settings of one cloud, in one region.
pub fn load(env: &CloudsEnv, cloud: &str, region: Option<&str>) -> Result<CloudConfig, CloudError> {
    let found = env.first("clouds", "OS_CLIENT_CONFIG_FILE")?;
    let secure = env.first("secure", "OS_CLIENT_SECURE_FILE")?;
    let (env_name, env_cloud) = env.envvars();
    let file = found.as_ref().map(|(path, _)| path.clone());
    let mut whole = found.map(|(_, content)| content).unwrap_or_default();
    if let Some((_, secure)) = secure {
        merge(&mut whole, secure);
    }
    let clouds = whole.remove("clouds");
    let mut clouds = match clouds {
        Some(Value::Object(clouds)) => clouds,
        None | Some(Value::Null) => Map::new(),
        Some(_) => {
            return Err(error(format!("{}: `clouds` is no map", shown(file.as_deref())), "write `clouds:` and below it a name"));
        }
    };
    if env_cloud.is_some() && clouds.contains_key(&env_name) {
        let said =
            format!("{} has a cloud `{env_name}`, and the OS_* variables make another of that name", shown(file.as_deref()));
        return Err(error(said, "unset the OS_* variables, or name theirs with OS_CLOUD_NAME"));
    }
    let from_env = env_cloud.is_some() && cloud == env_name;
    if let Some(values) = env_cloud {
        clouds.insert(env_name, Value::Object(values));
    }
    let names: Vec<String> = clouds.keys().cloned().collect();
    let Some(entry) = clouds.remove(cloud) else {
        return Err(unknown(env, file.as_deref(), cloud, &names));
    };
    let at = if from_env { "OS_* variables".to_owned() } else { shown(file.as_deref()) };
    let Value::Object(entry) = entry else {
        return Err(error(format!("{at}: cloud `{cloud}` is no map"), "give it `auth:` with an `auth_url`"));
    };
    identity::read(&at, cloud, with_region(normalized(entry), region), region, env.home.as_deref())
}

fn unknown(env: &CloudsEnv, file: Option<&Path>, cloud: &str, names: &[String]) -> CloudError {
    let Some(file) = file else {
        let said = format!("no clouds.yaml is found that could have the cloud `{cloud}` (looked in: {})", env.searched());
        return error(said, "put one into one of these directories, or set OS_CLIENT_CONFIG_FILE to its path");
    };
    let has = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
    let said = format!("{} has no cloud `{cloud}` (it has: {has})", file.display());
    match near(cloud, names.iter().map(String::as_str)) {
        Some(near) => error(said, format!("did you mean `{near}`?")),
        None => error(said, "`cloud:` of a provider in controller.yaml names an entry of clouds.yaml"),
    }
}

fn shown(file: Option<&Path>) -> String {
    file.map_or_else(|| "secure.yaml".to_owned(), |file| file.display().to_string())
}

fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, CloudError> {
    match serde_yaml::from_str::<Value>(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(error(format!("{} is no map", path.display()), "it begins with `clouds:`, and below it a name")),
        Err(why) => Err(error(format!("{} is no valid YAML: {why}", path.display()), "correct it there")),
    }
}

/// Over it, map by map.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `-` and `_` are the same in keys.
fn normalized(map: Map<String, Value>) -> Map<String, Value> {
    let pairs = map.into_iter().map(|(key, value)| {
        let value = if let Value::Object(inner) = value { Value::Object(normalized(inner)) } else { value };
        (key.replace('-', "_"), value)
    });
    pairs.collect()
}

/// The values that `regions` has for this region (its first, when none is asked for), laid over the cloud's.
fn with_region(mut cloud: Map<String, Value>, region: Option<&str>) -> Map<String, Value> {
    let Some(Value::Array(regions)) = cloud.remove("regions") else { return cloud };
    let name = |entry: &Value| entry.as_str().or_else(|| entry.get("name")?.as_str()).map(str::to_owned);
    let chosen = regions.into_iter().find(|entry| region.is_none() || name(entry).as_deref() == region);
    let Some(chosen) = chosen else { return cloud };
    if let Some(name) = name(&chosen) {
        cloud.insert("region_name".to_owned(), Value::from(name));
    }
    if let Some(Value::Object(values)) = chosen.get("values") {
        merge(&mut cloud, values.clone());
    }
    cloud
}
