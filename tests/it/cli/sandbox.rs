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
