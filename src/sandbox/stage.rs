//! A served world, and a directory with all that a person needs to use it: clouds.yaml, key, secret, desired state.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use super::serve_http::HttpServer;
use super::serve_ssh::SshServer;
use super::{Delays, Generation, Sandbox};
use crate::names::{ProviderName, TargetName};

const PROVIDER: &str = "sandbox";
const TARGET: &str = "ci";
const IMAGE: &str = "debian-12";
const FLAVOR: &str = "m1.small";
const BUILDER_FLAVOR: &str = "m1.medium";
const SNAPSHOT: &str = "ci-snapshot";

/// A person's own script is not tried out here: it is told at the start.
pub const PLAYED: &str = "no script is run here: each is played as one that ends well";

/// Of the machines that a person looks at: as short as lets each step be seen.
const DELAYS: Delays = Delays { build: 2, ssh: 2, script: 1, agent: 2, delete: 1, off: 2, save: 3, restart: 10, call: 0 };

/// Serves until it is dropped; the directory stays.
#[derive(Debug)]
pub struct Stage {
    pub world: Sandbox,
    pub target: TargetName,
    pub desired_state: PathBuf,
    /// For `OS_CLIENT_CONFIG_FILE`.
    pub clouds_yaml: PathBuf,
    http: HttpServer,
    ssh: SshServer,
}

impl Stage {
    /// Writes below `dir`, which is there and is an absolute path. `start`: not after the clients' own clock.
    pub fn set_up(dir: &Path, generation: Generation, start: Timestamp) -> io::Result<Self> {
        let seed = u64::try_from(start.as_second()).unwrap_or_default();
        let world = Sandbox::new(start, seed);
        let (provider, target) = (ProviderName::from(PROVIDER), TargetName::from(TARGET));
        world.add_provider(&provider);
        world.add_network(&provider, "ci-net");
        world.add_image(&provider, IMAGE);
        world.add_target(&target, generation);
        world.set_delays(DELAYS);
        let (http, ssh) = (world.serve_http()?, world.serve_ssh()?);
        let stage =
            Self { world, desired_state: dir.join("desired-state"), clouds_yaml: dir.join("clouds.yaml"), target, http, ssh };
        stage.write(dir, generation, &provider)?;
        Ok(stage)
    }

    /// What a person can try the commands about images on, beside the pool: a second flavor, and a snapshot that is built from
    /// the image that there is.
    pub fn add_an_image(&self, dir: &Path) -> io::Result<()> {
        let provider = ProviderName::from(PROVIDER);
        self.world.add_flavor(&provider, BUILDER_FLAVOR, 2, 4096);
        fs::create_dir_all(self.desired_state.join("images"))?;
        fs::write(self.desired_state.join("scripts/setup.sh"), "#!/bin/sh\n# What each node from the snapshot has.\nexit 0\n")?;
        let image = image_yaml(&dir.join("id_ed25519"), self.ssh.port());
        fs::write(self.desired_state.join(format!("images/{SNAPSHOT}.yaml")), image)
    }

    fn write(&self, dir: &Path, generation: Generation, provider: &ProviderName) -> io::Result<()> {
        let (auth_url, jenkins_url) = (self.http.auth_url(provider), self.http.jenkins_url(&self.target));
        let (password, secret, user) = self.world.with(|state| {
            let jenkins = state.jenkins.get(&self.target);
            let is_old = generation == Generation::Hudson332;
            let secret = jenkins.map(|jenkins| if is_old { jenkins.password.clone() } else { jenkins.token.clone() });
            let user = jenkins.map(|jenkins| jenkins.user.clone()).unwrap_or_default();
            (state.password.clone(), secret.unwrap_or_default(), user)
        });
        let (key, secret_file) = (dir.join("id_ed25519"), dir.join("jenkins-secret"));
        self.ssh.write_key(&key)?;
        private(&secret_file, &format!("{}\n", secret.expose_secret()))?;
        private(&self.clouds_yaml, &clouds_yaml(&auth_url, password.expose_secret()))?;
        let kind = if generation == Generation::Hudson332 { "password-file" } else { "token-file" };
        fs::create_dir_all(self.desired_state.join("pools"))?;
        fs::create_dir_all(self.desired_state.join("scripts"))?;
        let secret = format!("{kind}: {}", quoted(&secret_file));
        let controller = controller_yaml(&jenkins_url, &user, &secret, &dir.join("lock"));
        fs::write(self.desired_state.join("controller.yaml"), controller)?;
        fs::write(self.desired_state.join("pools/ci-debian.yaml"), pool_yaml(&key, self.ssh.port()))?;
        fs::write(self.desired_state.join("scripts/ready.sh"), "#!/bin/sh\n# The last touch on a fresh node.\nexit 0\n")
    }
}

/// For its owner alone from the start on.
fn private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// A path as a YAML scalar, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

fn clouds_yaml(auth_url: &str, password: &str) -> String {
    format!(
        "clouds:
  sandbox:
    region_name: RegionOne
    auth:
      auth_url: {auth_url}
      username: poolkeeper
      # Quoted: 7807e0 would be a number.
      password: '{password}'
      project_name: sandbox
      user_domain_id: default
      project_domain_id: default
"
    )
}

fn controller_yaml(jenkins_url: &str, user: &str, secret: &str, lock: &Path) -> String {
    format!(
        "controller: demo
providers:
  {PROVIDER}:
    cloud: sandbox
    max-servers: 6
    max-concurrent-launches: 4
    networks: [ci-net]
    host-keys: console
targets:
  {TARGET}:
    url: {jenkins_url}
    user: {user}
    {secret}
lock-file: {}
",
        quoted(lock)
    )
}

fn pool_yaml(key: &Path, port: u16) -> String {
    format!(
        "image: {{glance: {IMAGE}}}
flavor: {FLAVOR}
providers: [{PROVIDER}]
target: {TARGET}
labels: [debian]
min-ready: 2
max-servers: 4
script-dir: scripts
ready-script: ready.sh
username: jenkins
user-home: /home/jenkins
private-key: {}
ssh-port: {port}
used-when: [gearman]
agent:
  launcher: inbound
  remote-fs: /home/jenkins/workspace
",
        quoted(key)
    )
}

fn image_yaml(key: &Path, port: u16) -> String {
    format!(
        "providers: [{PROVIDER}]
base-image: {IMAGE}
flavor: {BUILDER_FLAVOR}
setup-script: setup.sh
script-dir: scripts
username: jenkins
private-key: {}
ssh-port: {port}
diskimage:                           # of `image build`, which takes diskimage-builder and root
  elements: [debian-minimal, vm]
  release: bookworm
",
        quoted(key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let start = "2026-11-25T10:00:00Z".parse().expect("a time");
        let stage = Stage::set_up(dir.path(), Generation::Hudson332, start).expect("a stage");
        for name in ["clouds.yaml", "id_ed25519", "jenkins-secret"] {
            let mode = fs::metadata(dir.path().join(name)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let controller = fs::read_to_string(stage.desired_state.join("controller.yaml")).expect("a file");
        assert!(controller.contains("password-file:"), "Hudson has no tokens");
    }

    #[test]
    fn a_path_is_one_scalar() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it''s'");
    }
}
