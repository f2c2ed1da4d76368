//! What an inbound agent is started with, by what the controller serves. Texts in, values out.

use secrecy::{ExposeSecret as _, SecretString};

/// The agent's file from the controller (`jenkins-agent.jnlp`, of old `slave-agent.jnlp`): it holds the secret.
#[derive(Debug, Clone)]
pub struct Jnlp(SecretString);

/// What an agent's program takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The secret alone, the rest on the command line.
    Secret {
        /// The controller has no port for inbound agents: over its HTTP port then.
        web_socket: bool,
    },
    /// The whole file: all that Hudson's and older programs know. `-secret` is something else there.
    Jnlp,
}

/// The first long-term release whose own pages start an agent without a JNLP file (the weekly 2.437 was the first of all).
const FIRST_WITHOUT_JNLP: (u32, u32) = (2, 440);

impl Style {
    /// `version`: `X-Jenkins`, which Hudson does not send.
    pub fn of(version: Option<&str>, has_agent_port: bool) -> Self {
        match version.and_then(major_minor) {
            Some(version) if version >= FIRST_WITHOUT_JNLP => Self::Secret { web_socket: !has_agent_port },
            Some(_) | None => Self::Jnlp,
        }
    }

    /// A command of the desired state says itself which file it takes.
    pub fn of_command(command: &str) -> Self {
        if command.contains("-jnlpUrl") { Self::Jnlp } else { Self::Secret { web_socket: false } }
    }

    pub fn command(self) -> &'static str {
        match self {
            Self::Secret { web_socket: false } => {
                "java -jar {jar} -url {url} -secret @{secret-file} -name {name} -workDir {remote-fs}"
            }
            Self::Secret { web_socket: true } => {
                "java -jar {jar} -url {url} -webSocket -secret @{secret-file} -name {name} -workDir {remote-fs}"
            }
            Self::Jnlp => "java -jar {jar} -jnlpUrl file:{secret-file}",
        }
    }
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Jnlp {
    /// None when it has no argument to read a secret from.
    pub fn read(text: String) -> Option<Self> {
        let file = Self(text.into());
        file.secret().map(|_| ())?;
        Some(file)
    }

    /// Its first argument.
    fn secret(&self) -> Option<SecretString> {
        let (_, rest) = self.0.expose_secret().split_once("<argument>")?;
        let (secret, _) = rest.split_once("</argument>")?;
        let plain = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then(|| secret.to_owned().into())
    }

    /// The content of `{secret-file}`.
    pub fn file(&self, style: Style) -> SecretString {
        match style {
            Style::Secret { .. } => self.secret().unwrap_or_default(),
            Style::Jnlp => self.0.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_controllers_take_the_secret_alone() {
        assert_eq!(Style::of(Some("2.568.2"), true), Style::Secret { web_socket: false });
        assert_eq!(Style::of(Some("2.462.3"), false), Style::Secret { web_socket: true });
        assert_eq!(Style::of(Some("2.441-rc1"), true), Style::Secret { web_socket: false });
        for old in [None, Some("1.651.2"), Some("2.46.1"), Some("2.439"), Some("?")] {
            assert_eq!(Style::of(old, true), Style::Jnlp, "{old:?}");
        }
        assert_eq!(Style::of_command("java -jar {jar} -jnlpUrl file:{secret-file}"), Style::Jnlp);
    }

    #[test]
    fn the_secret_is_the_first_argument_and_is_not_shown() {
        let text = "<jnlp><application-desc><argument>0123abcd</argument><argument>n</argument></application-desc></jnlp>";
        let file = Jnlp::read(text.to_owned()).expect("a file");
        assert_eq!(file.file(Style::Secret { web_socket: false }).expose_secret(), "0123abcd");
        assert_eq!(file.file(Style::Jnlp).expose_secret(), text);
        assert!(!format!("{file:?}").contains("0123abcd"));
        assert!(Jnlp::read("<html>login</html>".to_owned()).is_none());
        assert!(Jnlp::read("<argument></argument>".to_owned()).is_none());
    }
}
