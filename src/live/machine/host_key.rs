//! A host key as it comes over the wire, as OpenSSH writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::observed::HostKey;

/// The key blob of a handshake (RFC 4253, section 6.6): its first field is the algorithm's name. None when it is no such
/// blob.
pub fn from_blob(blob: &[u8]) -> Option<HostKey> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let algorithm = std::str::from_utf8(rest.get(..length)?).ok()?;
    HostKey::parse(&format!("{algorithm} {}", STANDARD.encode(blob)))
}

/// The algorithms that a handshake asks for, best first. A pinned key's own comes first, so that a machine which later
/// shows a second key is still known by the first.
pub fn preferences(pinned: Option<&HostKey>) -> String {
    const ALL: [(&str, &str); 5] = [
        ("ssh-ed25519", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
        ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
        // The key says ssh-rsa whatever the signature's hash is; SHA-1 is not offered.
        ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
    ];
    let own = pinned.map(HostKey::algorithm).unwrap_or_default();
    let (first, rest): (Vec<_>, Vec<_>) = ALL.into_iter().partition(|(key, _)| *key == own);
    let names: Vec<&str> = first.into_iter().chain(rest).map(|(_, names)| names).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGE+FfnOTQDGpBxpBFvUeliXWCBxhlGaZKlDHWRGVRix";

    #[test]
    fn a_blob_names_its_algorithm() {
        let blob = STANDARD.decode(HostKey::parse(KEY).expect("a key").base64()).expect("base64");
        assert_eq!(from_blob(&blob).map(|key| key.to_string()), Some(KEY.to_owned()));
        assert_eq!(from_blob(&blob[..6]), None);
        assert_eq!(from_blob(b"\xff\xff\xff\xffssh-rsa"), None);
    }

    #[test]
    fn the_pinned_keys_algorithm_comes_first() {
        assert!(preferences(None).starts_with("ssh-ed25519,ecdsa-sha2-nistp256"));
        let rsa = HostKey::parse("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7").expect("a key");
        assert!(preferences(Some(&rsa)).starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519"));
        assert!(!preferences(Some(&rsa)).contains("ssh-rsa"));
    }
}
