//! Our own private key, read, and why one will not do: libssh2 has the same few words for every reason. Logs in nowhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

/// What an OpenSSH key's data begins with; the cipher's name follows, with its length before it (PROTOCOL.key of OpenSSH).
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The key of this file. The error says why not, without the file's name.
pub(super) fn read(path: &Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    match unfit(&text) {
        Some(why) => Err(why.to_owned()),
        None => Ok(text.into()),
    }
}

/// What can be said without a doubt; the rest is left to libssh2.
fn unfit(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("it is empty");
    }
    if ["ssh-", "ecdsa-"].iter().any(|start| text.starts_with(start)) || text.contains("-----BEGIN PUBLIC KEY-----") {
        return Some("it is a public key");
    }
    if !text.contains("PRIVATE KEY-----") {
        return Some("it is no private key");
    }
    let encrypted = text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED");
    (encrypted || cipher(text).is_some_and(|cipher| cipher != b"none")).then_some("it has a passphrase")
}

/// Of a key in OpenSSH's own format.
fn cipher(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().skip_while(|line| !line.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")).skip(1);
    let body: String = lines.take_while(|line| !line.starts_with("-----")).map(str::trim).collect();
    let data = STANDARD.decode(body).ok()?;
    let rest = data.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openssh(cipher: &str) -> String {
        let length = u32::try_from(cipher.len()).expect("a short name").to_be_bytes();
        let data = [MAGIC, &length, cipher.as_bytes(), b"\0\0\0\x06bcrypt"].concat();
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", STANDARD.encode(data))
    }

    #[test]
    fn what_is_no_key_for_us() {
        let pem = |kind: &str| format!("-----BEGIN {kind}-----\nMIIB\n-----END {kind}-----\n");
        let cases = [
            (" \n".to_owned(), Some("it is empty")),
            ("ssh-ed25519 AAAA alice\n".to_owned(), Some("it is a public key")),
            (pem("PUBLIC KEY"), Some("it is a public key")),
            (pem("CERTIFICATE"), Some("it is no private key")),
            (pem("ENCRYPTED PRIVATE KEY"), Some("it has a passphrase")),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n".to_owned(), Some("it has a passphrase")),
            (openssh("aes256-ctr"), Some("it has a passphrase")),
            (openssh("none"), None),
            (pem("RSA PRIVATE KEY"), None),
            (pem("OPENSSH PRIVATE KEY"), None),
        ];
        for (text, why) in cases {
            assert_eq!(unfit(&text), why, "{text}");
        }
    }
}
