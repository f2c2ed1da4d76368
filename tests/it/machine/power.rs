//! A machine that is cleaned and turned off, and a script's whole log, under every shell that is here.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use poolkeeper::desired::Clean;
use poolkeeper::live::machine::remote_command::{RemoteCommand, read_log};
use poolkeeper::observed::ScriptState;
use poolkeeper::world::Done;

use super::guest::{Guest, SERVER, digest, guests};

const ALL: [Clean; 3] = [Clean::MachineId, Clean::DhcpLeases, Clean::HostKeys];

/// Commands of the end of a machine: each only writes down that it was called, and what was there then.
const FAKE: &str = "#!/bin/sh\nbin=${0%/*}\nset -- \"${0##*/} $*\" \"${bin%/*}\"/etc/ssh/ssh_host_*\n\
                    echo \"$1 $([ -e \"$2\" ] && echo with-host-keys)\" >>\"$bin/../ends\"\nexit 1\n";

/// Guests whose shell finds the fakes, and never a real power-off: a shell may have one built in.
fn mortal_guests() -> Vec<Guest> {
    let guests = guests().into_iter().filter(|guest| {
        for name in ["poweroff", "sync", "sleep"] {
            let fake = guest.path(&format!("bin/{name}"));
            fs::write(&fake, FAKE).expect("a file");
            fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        ["poweroff", "sync", "sleep"].iter().all(|name| guest.which(name) == guest.path(&format!("bin/{name}")).to_string_lossy())
    });
    let guests: Vec<Guest> = guests.collect();
    assert!(!guests.is_empty(), "no shell that takes a command from its PATH");
    guests
}

fn turn_off(clean: &[Clean]) -> RemoteCommand {
    RemoteCommand::TurnOff { server: SERVER.into(), clean: clean.to_vec() }
}

fn write(guest: &Guest, files: &[&str]) {
    for file in files {
        fs::create_dir_all(guest.path(file).parent().expect("a folder")).expect("a folder");
        fs::write(guest.path(file), "x").expect("a file");
    }
}

/// Of these, those that are there with something in them.
fn left<'a>(guest: &Guest, files: &[&'a str]) -> Vec<&'a str> {
    let there = |file: &&str| fs::read(guest.path(file)).is_ok_and(|content| !content.is_empty());
    files.iter().copied().filter(there).collect()
}

/// What the fakes wrote, once the last one has. The limit is a count: a machine that is slow looks longer.
fn ends(guest: &Guest) -> Vec<String> {
    let mut looks = std::iter::repeat_with(|| {
        // A process each time, so that a busy machine gets on.
        guest.which("poweroff");
        fs::read_to_string(guest.path("ends")).unwrap_or_default()
    });
    let text = looks.by_ref().take(10_000).find(|text| text.contains("poweroff -f")).expect("an end");
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

const MACHINE_ID: [&str; 2] = ["etc/machine-id", "var/lib/dbus/machine-id"];
const LEASES: [&str; 5] = [
    "var/lib/dhcp/dhclient.eth0.leases",
    "var/lib/dhclient/dhclient--eth0.lease",
    "var/lib/NetworkManager/internal-1-eth0.lease",
    "var/lib/dhcpcd/eth0.lease",
    "var/lib/wicked/lease-eth0-dhcp-ipv4.xml",
];
const HOST_KEYS: [&str; 2] = ["etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub"];
const KEPT: [&str; 4] =
    ["etc/nodepool/provider", "etc/ssh/sshd_config", "var/lib/cloud/instance/x", "opt/nodepool-scripts/ready.sh"];

#[test]
fn a_builder_leaves_nothing_of_itself_and_goes() {
    for guest in mortal_guests() {
        guest.push(&[("ready.sh", "#!/bin/sh\n")]).done();
        guest.start(Some("ready.sh"), &[]).done();
        assert_eq!(guest.over(), ScriptState::Passed, "{}", guest.name);
        for files in [&MACHINE_ID[..], &LEASES, &HOST_KEYS, &KEPT] {
            write(&guest, files);
        }
        write(&guest, &["var/lib/poolkeeper/another/state", "var/lib/NetworkManager/secret_key"]);
        // The fakes fail: the machine stays on, and the same again brings the same.
        for turn in ["once", "again"] {
            assert_eq!(guest.run(&turn_off(&ALL), b"").done(), Done::Done, "{}: {turn}", guest.name);
            let expected = ["sync", "sleep 1", "poweroff", "poweroff -f"].map(str::to_owned);
            assert_eq!(ends(&guest), expected, "{}: {turn}", guest.name);
            fs::remove_file(guest.path("ends")).expect("the fakes' file");
        }
        for files in [&MACHINE_ID[..], &LEASES, &HOST_KEYS, &["etc/nodepool/id_rsa", "etc/nodepool/id_rsa.pub"]] {
            assert_eq!(left(&guest, files), Vec::<&str>::new(), "{}", guest.name);
        }
        assert_eq!(left(&guest, &KEPT), KEPT, "{}", guest.name);
        assert!(guest.path("etc/machine-id").exists(), "an empty one: the first boot makes its own");
        assert!(guest.path("var/lib/NetworkManager/secret_key").exists() && !guest.path("var/lib/poolkeeper").exists());
    }
}

#[test]
fn what_is_not_asked_for_stays() {
    for guest in mortal_guests() {
        for files in [&MACHINE_ID[..], &LEASES, &HOST_KEYS] {
            write(&guest, files);
        }
        write(&guest, &["etc/nodepool/id_rsa", "var/lib/poolkeeper/x"]);
        guest.run(&turn_off(&[]), b"").done();
        let seen = ends(&guest);
        assert_eq!(seen.len(), 4, "{}: {seen:?}", guest.name);
        assert!(seen.iter().all(|end| end.ends_with("with-host-keys")), "{}: {seen:?}", guest.name);
        for files in [&MACHINE_ID[..], &LEASES, &HOST_KEYS] {
            assert_eq!(left(&guest, files), files, "{}", guest.name);
        }
        assert_eq!(left(&guest, &["etc/nodepool/id_rsa", "var/lib/poolkeeper/x"]), Vec::<&str>::new(), "never these");
    }
}

#[test]
fn a_machine_id_behind_a_link_is_emptied_in_its_own_place() {
    for guest in mortal_guests() {
        write(&guest, &["etc/machine-id"]);
        fs::create_dir_all(guest.path("var/lib/dbus")).expect("a folder");
        symlink("../../../etc/machine-id", guest.path("var/lib/dbus/machine-id")).expect("a link");
        guest.run(&turn_off(&[Clean::MachineId]), b"").done();
        ends(&guest);
        assert!(guest.path("var/lib/dbus/machine-id").is_symlink(), "{}", guest.name);
        assert_eq!(fs::read_to_string(guest.path("etc/machine-id")).expect("a file"), "");
    }
}

#[test]
fn a_machine_that_cannot_be_cleaned_says_why_and_stays_on() {
    for guest in mortal_guests() {
        // A folder in a file's place.
        write(&guest, &["etc/nodepool/id_rsa/x"]);
        let said = guest.run(&turn_off(&ALL), b"");
        assert!(said.refused().contains("id_rsa"), "{}: {}", guest.name, said.text);
        assert!(!guest.path("ends").exists());
    }
}

fn log(guest: &Guest) -> Option<String> {
    let said = guest.run(&RemoteCommand::ScriptLog { server: SERVER.into(), digest: digest() }, b"");
    assert!(said.ok, "{}: {}", guest.name, said.text);
    read_log(&said.text)
}

#[test]
fn a_log_is_the_whole_output_of_one_run() {
    for guest in guests() {
        assert_eq!(log(&guest).as_deref(), Some(""), "{}: no state at all", guest.name);
        guest.push(&[("ready.sh", "#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' x\nprintf '\\n\\033[31mend\\n'\n")]).done();
        guest.start(Some("ready.sh"), &[]).done();
        guest.over();
        let whole = log(&guest).expect("a log");
        assert_eq!(whole.len(), 200_000 + "\n[31mend\n".len(), "{}", guest.name);
        assert!(whole.ends_with("x\n[31mend\n"));
        let other = guest.run(&RemoteCommand::ScriptLog { server: "another".into(), digest: digest() }, b"");
        assert_eq!(read_log(&other.text).as_deref(), Some(""), "another server's is not ours to show");
    }
}

#[test]
fn a_log_that_is_no_end_in_itself_is_cut_at_its_beginning() {
    let guest = guests().into_iter().next().expect("a shell");
    guest.push(&[]).done();
    guest.start(None, &[]).done();
    guest.over();
    let long = "x".repeat(9 << 20) + "\nlast words\n";
    fs::write(guest.path(&super::guest::state("output")), &long).expect("a file");
    let shown = log(&guest).expect("a log");
    assert_eq!((shown.len(), shown.ends_with("x\nlast words\n")), (8 << 20, true));
}
