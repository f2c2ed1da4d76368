//! The systemd units: what systemd itself says of them, and what they promise beside the program's own constants.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use poolkeeper::exit;

const SERVICE: &str = include_str!("../../systemd-timers/poolkeeper-apply.service");
const TIMER: &str = include_str!("../../systemd-timers/poolkeeper-apply.timer");
const TMPFILES: &str = include_str!("../../systemd-timers/poolkeeper.tmpfiles.conf");
const SYSUSERS: &str = include_str!("../../systemd-timers/poolkeeper.sysusers.conf");

/// Every value of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

fn seconds(unit: &str, key: &str) -> u64 {
    let value = values(unit, key).first().copied().unwrap_or_default();
    value.strip_suffix('s').and_then(|text| text.parse().ok()).expect("a time in seconds")
}

/// `systemd-analyze` on copies whose program exists everywhere. None: the tool is not on this machine, said aloud.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let service: String = SERVICE
        .lines()
        .map(|line| if line.starts_with("ExecStart=") { "ExecStart=/bin/true\n".into() } else { format!("{line}\n") })
        .collect();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a unit is written");
    write("poolkeeper-apply.service", &service);
    write("poolkeeper-apply.timer", TIMER);
    let output = match Command::new("systemd-analyze").args(arguments).current_dir(folder.path()).output() {
        Ok(output) => output,
        Err(error) => {
            // Past the harness' capture, which hides what a passing test prints.
            writeln!(std::io::stderr(), "\nNOT CHECKED: the units, by systemd-analyze: {error}").expect("stderr");
            return None;
        }
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    let Some((passed, said)) = analyze(&["verify", "--man=no", "./poolkeeper-apply.service", "./poolkeeper-apply.timer"]) else {
        return;
    };
    assert!(passed, "{said}");
    // It speaks of the machine's other units too.
    assert!(!said.contains("poolkeeper"), "{said}");
}

#[test]
fn the_service_is_as_hardened_as_it_was_made() {
    // Tenths of systemd's exposure: 14 when this was written, 20 is the most that a release may give up.
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager", "./poolkeeper-apply.service"];
    let Some((passed, said)) = analyze(&arguments) else { return };
    assert!(passed, "{said}");
}

#[test]
fn what_is_no_failure_is_written_as_the_program_has_it() {
    let codes = format!("{} {} {}", exit::SOME_FAILED, exit::REFUSED, exit::LOCKED);
    assert_eq!(values(SERVICE, "SuccessExitStatus"), [codes]);
}

#[test]
fn a_run_ends_by_itself_before_systemd_ends_it() {
    assert_eq!(values(SERVICE, "Type"), ["oneshot"]);
    // The default deadline and the longest call that may be in flight then (api-timeout).
    assert!(seconds(SERVICE, "TimeoutStartSec") > 50 + 30);
    assert!(seconds(SERVICE, "TimeoutStopSec") > 30);
}

#[test]
fn the_timer_counts_from_the_end_of_a_run() {
    assert_eq!(values(TIMER, "OnUnitInactiveSec"), ["60s"]);
    assert_eq!(values(TIMER, "AccuracySec"), ["1s"]);
    assert!(values(TIMER, "OnCalendar").is_empty(), "a wall clock would not wait for a run's end");
}

#[test]
fn the_command_line_is_one_that_the_program_takes() {
    let [command] = values(SERVICE, "ExecStart")[..] else { panic!("one ExecStart") };
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("/usr/bin/poolkeeper"));
    let empty = tempfile::tempdir().expect("a folder");
    let words = words.map(|word| if Path::new(word).is_absolute() { empty.path().as_os_str() } else { word.as_ref() });
    let output = Command::new(env!("CARGO_BIN_EXE_poolkeeper")).args(words).env_clear().output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(exit::BAD_DESIRED_STATE.into()),
        "an empty directory is understood and refused: {said}"
    );
}

#[test]
fn the_user_and_its_directories_are_made_by_the_package() {
    let [user] = values(SERVICE, "User")[..] else { panic!("one User") };
    assert!(SYSUSERS.lines().any(|line| line.starts_with(&format!("u {user} "))), "{SYSUSERS}");
    let [state] = values(SERVICE, "StateDirectory")[..] else { panic!("one StateDirectory") };
    assert!(TMPFILES.lines().any(|line| line.starts_with(&format!("d /var/lib/{state}/lock ")) && line.contains(user)));
}
