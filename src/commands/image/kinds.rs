//! The kinds of file that `image build --type` may be given.

use crate::exit::Usage;

/// Of one file each. Those that it does not make itself it gives to `qemu-img convert`: of these the ones that Glance knows. Another
/// is refused here: there it fails after the hour of building.
const KINDS: [&str; 10] = ["qcow2", "raw", "vmdk", "vdi", "vhd", "vhdx", "tar", "tgz", "squashfs", "aci"];

/// What disk-image-create calls the file of a kind.
pub fn ending(kind: &str) -> Result<&str, Usage> {
    match kind {
        "squashfs" => Ok("squash"),
        "docker" => Err(Usage("--type docker: it makes no file".to_owned())),
        _ if KINDS.contains(&kind) => Ok(kind),
        _ => Err(Usage(format!("--type {kind}: it is one of {}", KINDS.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_fail_after_an_hour_is_refused_with_the_kinds_that_there_are() {
        let refused = |kind| ending(kind).expect_err("no kind").to_string();
        assert_eq!(refused("foo"), "--type foo: it is one of qcow2, raw, vmdk, vdi, vhd, vhdx, tar, tgz, squashfs, aci");
        assert_eq!(refused("docker"), "--type docker: it makes no file");
        for (kind, expected) in [("raw", "raw"), ("squashfs", "squash")] {
            assert_eq!(ending(kind).expect("a kind"), expected);
        }
    }
}
