//! `sandbox` as a person starts it: which directories it takes, what it says.

use std::fs;
use std::io::{BufReader, Read as _};
use std::process::Stdio;

use super::place::Place;
use super::signals::{read_until, terminate};

#[test]
fn a_sandbox_writes_over_no_files_but_its_own() {
    let place = Place::empty();
    let (own, theirs) = (place.path("own"), place.path("theirs"));
    fs::create_dir_all(theirs.join("desired-state")).expect("a directory");
    place.write("theirs/desired-state/controller.yaml", "theirs");
    place.write("file", "theirs");
    for (directory, words) in [("theirs", "has files that no sandbox made"), ("file", "is no directory")] {
        let said = place.run(&["sandbox", directory]);
        assert!(said.code == Some(2) && said.stderr.contains(words), "{directory}: {said:?}");
    }
    assert_eq!(fs::read_to_string(theirs.join("desired-state/controller.yaml")).expect("a file"), "theirs");
    assert_eq!(fs::read_dir(&theirs).expect("a directory").count(), 1);

    // One that is not there, the same again with a change in it, and an empty one.
    fs::create_dir(place.path("empty")).expect("a directory");
    for directory in ["own", "own", "empty"] {
        let mut child = place.command(&["sandbox", directory]).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let said = read_until(&mut out, "poolkeeper --desired-state ");
        assert!(said.starts_with("# no script is run here: each is played as one that ends well\n"), "{said}");
        terminate(&child);
        assert_eq!(child.wait().expect("its end").code(), Some(0), "{directory}");
        assert_eq!(out.read_to_string(&mut String::new()).expect("text"), 0);
        let pool = fs::read_to_string(place.path(directory).join("desired-state/pools/ci-debian.yaml")).expect("a pool");
        assert!(pool.contains("min-ready: 2"), "{pool}");
        fs::write(own.join("desired-state/pools/ci-debian.yaml"), "").expect("written");
    }
}

/// The README's commands about images have something to work on.
#[test]
fn a_sandbox_has_an_image_to_build_and_a_flavor_to_change_to() {
    let place = Place::empty();
    let mut child = place.command(&["sandbox", "own"]).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    read_until(&mut out, "poolkeeper --desired-state ");
    let run = |arguments: &[&str]| {
        let mut command = place.command(&[&["--desired-state", "own/desired-state"], arguments].concat());
        let said = place.said(&command.env("OS_CLIENT_CONFIG_FILE", place.path("own/clouds.yaml")).output().expect("it starts"));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{arguments:?}: {said:?}");
        said.stdout
    };
    assert_eq!(run(&["validate"]).lines().count(), 1);
    assert!(run(&["image", "list"]).contains("ci-snapshot"));
    let begun = run(&["image", "update", "ci-snapshot"]);
    assert!(begun.contains("create ci-snapshot"), "{begun}");
    place.edit("own/desired-state/pools/ci-debian.yaml", "flavor: m1.small", "flavor: m1.medium");
    let plan = run(&["plan"]);
    assert!(plan.contains("+ create  ci-debian x2") && plan.contains("m1.medium"), "{plan}");
    terminate(&child);
    assert_eq!(child.wait().expect("its end").code(), Some(0));
}
