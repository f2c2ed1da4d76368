//! What the command line says of itself: help, version, and what it does not understand.

use super::place::Place;
use super::transcript::Transcript;

pub(super) const COMMANDS: [&str; 10] =
    ["validate", "observe", "plan", "apply", "list", "status", "explain", "image", "demo", "sandbox"];

/// Commands below a command.
pub(super) const INNER: [&str; 9] = [
    "image list",
    "image update",
    "image delete",
    "image pin",
    "image unpin",
    "image log",
    "image publish",
    "image save",
    "image build",
];

#[test]
fn every_command_has_its_help() {
    let place = Place::empty();
    let mut transcript = Transcript::new("help");
    let said = transcript.run("the whole", &place, &["--help"]);
    let listed: Vec<&str> = said
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, COMMANDS, "each is called below");
    let _short = transcript.run("in short", &place, &["-h"]);
    for command in COMMANDS {
        let said = transcript.run(&format!("`{command}`"), &place, &[command, "--help"]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
        assert_eq!(place.run(&[command, "-h"]).code, Some(0));
    }
    for command in INNER {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let said = transcript.run(&format!("`{command}`"), &place, &words);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    }
    transcript.check();
}

#[test]
fn the_version_is_the_packages() {
    for flag in ["--version", "-V"] {
        let said = Place::empty().run(&[flag]);
        assert_eq!((said.code, said.stdout), (Some(0), format!("poolkeeper {}\n", env!("CARGO_PKG_VERSION"))));
    }
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    let place = Place::empty();
    let mut transcript = Transcript::new("usage");
    let cases: [(&str, &[&str]); 15] = [
        ("nothing", &[]),
        ("a command that is none", &["aply"]),
        ("a flag that is none", &["plan", "--exitcode"]),
        ("a flag of another command", &["plan", "--yes"]),
        ("a value that is none", &["plan", "--format", "yaml"]),
        ("a flag without its value", &["plan", "--pool"]),
        ("a word too many", &["list", "ci-debian"]),
        ("no node", &["explain"]),
        ("no directory", &["sandbox"]),
        ("no name for an image", &["image", "publish", "disk.qcow2"]),
        ("no property", &["image", "publish", "disk.qcow2", "ci", "--property", "os_distro"]),
        ("no duration", &["apply", "--yes", "--deadline", "50"]),
        ("two that exclude each other", &["apply", "--yes", "--deadline", "1m", "--until-converged"]),
        ("a Jenkins that is none", &["sandbox", "dir", "--jenkins", "3"]),
        ("nobody to ask", &["apply"]),
    ];
    for (what, arguments) in cases {
        let said = transcript.run(what, &place, arguments);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{what}");
    }
    transcript.check();
}
