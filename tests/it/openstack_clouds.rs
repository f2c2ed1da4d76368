//! Which clouds.yaml is read, what is merged over it, and the exact words for what is wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use poolkeeper::live::openstack::clouds_yaml::load;
use poolkeeper::live::openstack::{CloudConfig, CloudsEnv, Identity, Named};
use secrecy::ExposeSecret as _;
use serde_json::json;

/// A home of its own, with one site directory.
struct Home {
    dir: tempfile::TempDir,
    env: CloudsEnv,
}

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |path: &str| dir.path().join(path);
        for (path, text) in files {
            fs::create_dir_all(at(path).parent().expect("a parent")).expect("a directory");
            fs::write(at(path), text).expect("a file");
        }
        let env = CloudsEnv {
            vars: BTreeMap::new(),
            user_config_dir: Some(at("config/openstack")),
            home: Some(dir.path().to_owned()),
            site_dirs: vec![at("etc")],
            current_dir: None,
        };
        Self { dir, env }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.env.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self, cloud: &str) -> CloudConfig {
        load(&self.env, cloud, None).expect("a cloud")
    }

    /// What is said and the hint, without the directory.
    fn error(&self, cloud: &str) -> String {
        let error = load(&self.env, cloud, None).expect_err("no cloud");
        let text = format!("{} | {}", error.said, error.hint.unwrap_or_default());
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

const LAB: &str = "clouds:
  lab:
    region-name: RegionOne
    auth: {auth_url: 'http://keystone:5000', username: ci, password: hunter2, project_name: ci, domain_name: Corp}
";

fn named(url: &str) -> String {
    format!("clouds: {{lab: {{auth: {{auth_url: '{url}', username: u, password: p, project_id: x}}}}}}")
}

#[test]
fn the_first_file_wins() {
    let places =
        ["config/openstack/clouds.yaml", "config/openstack/clouds.json", ".config/openstack/clouds.yml", "etc/clouds.yaml"];
    let mut left: Vec<(&str, String)> = places.iter().map(|place| (*place, named(&format!("http://{place}")))).collect();
    while !left.is_empty() {
        let files: Vec<(&str, &str)> = left.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let home = Home::new(&files);
        assert_eq!(home.load("lab").file, home.path(left[0].0).display().to_string());
        left.remove(0);
    }
    let home = Home::new(&[("etc/clouds.yaml", &named("http://etc")), ("other.yaml", &named("http://other"))]);
    let other = home.path("other.yaml");
    let home = home.var("OS_CLIENT_CONFIG_FILE", &other.display().to_string());
    assert_eq!(home.load("lab").auth_url, "http://other/v3");
}

#[test]
fn the_working_directory_counts_only_when_it_is_given() {
    let mut home = Home::new(&[("here/clouds.yaml", &named("http://here")), ("etc/clouds.yaml", &named("http://etc"))]);
    assert_eq!(home.load("lab").auth_url, "http://etc/v3");
    home.env.current_dir = Some(home.path("here"));
    assert_eq!(home.load("lab").auth_url, "http://here/v3");
}

#[test]
fn where_an_environment_says_to_look() {
    let look = |vars: &[(&str, &str)]| {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let env = CloudsEnv::new(&vars, None);
        let dirs = env.user_config_dir.iter().chain(&env.home).chain(&env.site_dirs).map(|dir| dir.display().to_string());
        (dirs.collect::<Vec<_>>().join(" "), env.vars.into_keys().collect::<Vec<_>>().join(" "))
    };
    let plain = look(&[("HOME", "/home/a"), ("OS_CLOUD", "lab"), ("PATH", "/bin"), ("XDG_CONFIG_HOME", "")]);
    assert_eq!(plain, ("/home/a /etc/xdg/openstack /etc/openstack".to_owned(), "OS_CLOUD".to_owned()));
    let moved = [("HOME", "/snap"), ("SNAP_REAL_HOME", "/home/a"), ("XDG_CONFIG_HOME", "/mine"), ("XDG_CONFIG_DIRS", "/a:/b")];
    assert_eq!(look(&moved).0, "/mine/openstack /home/a /a/openstack /b/openstack /etc/openstack");
}

#[test]
fn secure_yaml_lies_over_it() {
    let open = "clouds: {lab: {verify: false, cacert: ~/ca.pem, auth: {auth_url: 'http://k/v3/', username: u, project_id: p}}}";
    let secure = "clouds: {lab: {auth: {password: hunter2}}}";
    let home = Home::new(&[("config/openstack/clouds.yaml", open), ("etc/secure.yaml", secure)]);
    let config = home.load("lab");
    let Identity::Password { user, password } = &config.identity else { panic!("a password: {config:?}") };
    assert_eq!(*user, Named::Name { name: "u".into(), within: json!({"id": "default"}) });
    assert_eq!(password.expose_secret(), "hunter2");
    assert_eq!(config.scope, Some(Named::Id("p".into())));
    assert_eq!((config.verify, config.cacert.as_deref()), (false, Some(home.path("ca.pem").as_path())));
    assert_eq!(config.auth_url, "http://k/v3");
}

#[test]
fn one_domain_stands_for_both_and_dashes_are_underscores() {
    let config = Home::new(&[("etc/clouds.yaml", LAB)]).load("lab");
    let Identity::Password { user, .. } = &config.identity else { panic!("a password: {config:?}") };
    assert_eq!(*user, Named::Name { name: "ci".into(), within: json!({"name": "Corp"}) });
    assert_eq!(config.scope, Some(Named::Name { name: "ci".into(), within: json!({"name": "Corp"}) }));
    assert_eq!((config.region.as_deref(), config.interface.as_str()), (Some("RegionOne"), "public"));
    assert_eq!(config.auth_url, "http://keystone:5000/v3");
}

#[test]
fn the_providers_region_wins_and_brings_its_values() {
    let text = "clouds: {lab: {regions: [{name: A, values: {interface: internalURL}}, B], auth_type: v3token, \
                auth: {auth_url: 'http://k', token: t, project_id: p}}}";
    let home = Home::new(&[("etc/clouds.yaml", text)]);
    let at = |region| {
        let config = load(&home.env, "lab", region).expect("a cloud");
        (config.region.unwrap_or_default(), config.interface)
    };
    assert_eq!(at(None), ("A".to_owned(), "internal".to_owned()));
    assert_eq!(at(Some("B")), ("B".to_owned(), "public".to_owned()));
    assert_eq!(at(Some("C")), ("C".to_owned(), "public".to_owned()));
}

#[test]
fn application_credentials_and_tokens() {
    let text = "clouds:
  by-id: {auth_type: v3applicationcredential, auth: {auth_url: u, application_credential_id: i, application_credential_secret: s}}
  by-name: {auth_type: v3applicationcredential,
    auth: {auth_url: u, application_credential_name: n, application_credential_secret: s, user_id: who}}
  token: {auth: {auth_url: u, token: t, tenant_name: old}}
";
    let home = Home::new(&[("etc/clouds.yaml", text)]);
    let credential = |cloud| match home.load(cloud).identity {
        Identity::ApplicationCredential { credential, .. } => credential,
        other @ (Identity::Password { .. } | Identity::Token(_)) => panic!("{other:?}"),
    };
    assert_eq!(credential("by-id"), Named::Id("i".into()));
    assert_eq!(credential("by-name"), Named::Name { name: "n".into(), within: json!({"id": "who"}) });
    let token = home.load("token");
    assert!(matches!(token.identity, Identity::Token(_)), "{token:?}");
    assert_eq!(token.scope, Some(Named::Name { name: "old".into(), within: json!({"id": "default"}) }));
}

#[test]
fn variables_alone_make_a_cloud() {
    let selectors = Home::new(&[]).var("OS_CLOUD", "envvars").var("OS_REGION_NAME", "R").var("OS_LOG_LEVEL", "debug");
    assert!(selectors.error("envvars").starts_with("no clouds.yaml is found"), "{}", selectors.error("envvars"));
    let home = Home::new(&[])
        .var("OS_AUTH_URL", "http://k:5000/v2.0")
        .var("OS_USERNAME", "ci")
        .var("OS_PASSWORD", "hunter2")
        .var("OS_TENANT_NAME", "proj")
        .var("OS_COMPUTE_ENDPOINT_OVERRIDE", "http://nova");
    let config = home.load("envvars");
    assert_eq!((config.file.as_str(), config.auth_url.as_str()), ("OS_* variables", "http://k:5000/v3"));
    assert_eq!(config.settings.get("compute_endpoint_override").map(String::as_str), Some("http://nova"));
    assert!(!format!("{config:?} {:?}", home.env).contains("hunter2"));
    assert_eq!(home.var("OS_CLOUD_NAME", "mine").load("mine").cloud, "mine");
}

#[test]
fn what_is_wrong_and_what_to_do() {
    let with = |entry: &str| Home::new(&[("etc/clouds.yaml", &format!("clouds: {{lab: {entry}}}"))]).error("lab");
    let at = "etc/clouds.yaml: cloud `lab`";
    let cases = [
        ("7", format!("{at} is no map | give it `auth:` with an `auth_url`")),
        ("{}", format!("{at} has no `auth_url` | give it an `auth_url`, such as https://keystone.example.org:5000/v3")),
        ("{profile: ovh}", format!("{at} has no `auth_url` | vendor profiles are not read: write the `auth_url` out")),
        ("{auth: {auth_url: u}}", format!("{at} names no user | give it a `username` or a `user_id`")),
        ("{auth: {auth_url: u, username: a}}", format!("{at} has no `password` | put it into secure.yaml, beside clouds.yaml")),
        (
            "{auth: {auth_url: u, username: a, password: b}}",
            format!("{at} names no project | give it a `project_name` or a `project_id`"),
        ),
        (
            "{auth_type: v3oidcpassword, auth: {auth_url: u}}",
            format!("{at}: auth_type `v3oidcpassword` is not supported | supported: password, token, v3applicationcredential"),
        ),
    ];
    for (entry, expected) in cases {
        assert_eq!(with(entry), expected);
    }
    let has = |cloud| Home::new(&[("etc/clouds.yaml", LAB)]).error(cloud);
    assert_eq!(has("lap"), "etc/clouds.yaml has no cloud `lap` (it has: lab) | did you mean `lab`?");
    let far = "etc/clouds.yaml has no cloud `production` (it has: lab) | `cloud:` of a provider in controller.yaml names an entry \
               of clouds.yaml";
    assert_eq!(has("production"), far);
}

#[test]
fn broken_files_are_named() {
    let broken = Home::new(&[("etc/clouds.yaml", "clouds: {lab: [")]).error("lab");
    assert!(broken.starts_with("etc/clouds.yaml is no valid YAML: "), "{broken}");
    let missing = Home::new(&[]).var("OS_CLIENT_CONFIG_FILE", "/nowhere/clouds.yaml").error("lab");
    assert!(
        missing.starts_with("/nowhere/clouds.yaml, which $OS_CLIENT_CONFIG_FILE names, cannot be read: No such file"),
        "{missing}"
    );
    let both = Home::new(&[("etc/clouds.yaml", "clouds: {envvars: {}}")]).var("OS_USERNAME", "ci").error("envvars");
    assert!(both.starts_with("etc/clouds.yaml has a cloud `envvars`, and the OS_* variables make another"), "{both}");
}
