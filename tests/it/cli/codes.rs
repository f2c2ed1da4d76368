//! Every exit code, provoked.

use std::fs;

use poolkeeper::exit;
use poolkeeper::lock::try_lock;
use poolkeeper::sandbox::{BuildFate, Fate};

use super::place::Place;
use super::transcript::Transcript;

const POOL: &str = "desired-state/pools/ci-debian.yaml";
const CONTROLLER: &str = "desired-state/controller.yaml";

/// Runs, writes down, and holds the exit code against the one that is expected.
fn expect(transcript: &mut Transcript, what: &str, place: &Place, arguments: &[&str], code: u8) {
    let said = transcript.run(what, place, arguments);
    assert_eq!(said.code, Some(code.into()), "{what}: {said:?}");
}

#[test]
fn done_and_changes_pending() {
    let mut transcript = Transcript::new("codes-plan");
    let place = Place::filled();
    expect(&mut transcript, "nothing to do", &place, &["plan", "--exit-code"], exit::DONE);
    expect(&mut transcript, "nothing done", &place, &["apply", "--yes"], exit::DONE);
    let place = Place::empty();
    expect(&mut transcript, "something to do", &place, &["plan"], exit::DONE);
    expect(&mut transcript, "the same for a script", &place, &["plan", "--exit-code"], exit::CHANGES_PENDING);
    expect(&mut transcript, "of this pool", &place, &["plan", "--exit-code", "--pool", "ci-debian"], exit::CHANGES_PENDING);
    expect(&mut transcript, "of a pool that is none", &place, &["plan", "--pool", "other"], exit::USAGE);
    expect(&mut transcript, "and is nearly one", &place, &["apply", "--yes", "--pool", "ci-debain"], exit::USAGE);
    transcript.check();
}

#[test]
fn a_bad_desired_state_stops_every_command() {
    let mut transcript = Transcript::new("codes-desired-state");
    let place = Place::empty();
    expect(&mut transcript, "sound", &place, &["validate"], exit::DONE);
    place.edit(POOL, "min-ready", "min_ready");
    for arguments in [&["validate"][..], &["plan"], &["apply", "--yes"], &["list"], &["status"], &["explain", "x"], &["observe"]]
    {
        expect(&mut transcript, "a key that is none", &place, arguments, exit::BAD_DESIRED_STATE);
    }
    let calls = place.stage.world.with(|state| state.faults.calls());
    assert_eq!(calls, 0, "nothing is looked at");
    transcript.check();
}

#[test]
fn some_actions_failed() {
    let mut transcript = Transcript::new("codes-failed");
    let place = Place::empty();
    place.edit(POOL, "min-ready: 2", "min-ready: 1");
    let servers = "POST /os/sandbox/compute/v2.1/servers";
    let refusals = [
        ("an unknown key", 400, r#"{"badRequest": {"code": 400, "message": "Invalid key_name provided."}}"#),
        (
            "no quota",
            403,
            r#"{"forbidden": {"code": 403, "message": "Quota exceeded for cores: Requested 2, but already used 40 of 40 cores"}}"#,
        ),
        (
            "no role",
            403,
            r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:create to be performed."}}"#,
        ),
        ("a fault of Nova", 500, r#"{"computeFault": {"code": 500, "message": "Unexpected API Error."}}"#),
    ];
    for (what, status, body) in refusals {
        place.answer(servers, status, "application/json", body);
        expect(&mut transcript, what, &place, &["apply", "--yes", "--deadline", "1s"], exit::SOME_FAILED);
        place.no_faults();
    }
    transcript.check();
}

#[test]
fn a_limit_refuses() {
    let mut transcript = Transcript::new("codes-refused");
    let place = Place::filled();
    // Another name for the pool: all its nodes are nobody's.
    fs::rename(place.path(POOL), place.path("desired-state/pools/renamed.yaml")).expect("renamed");
    place.edit("desired-state/pools/renamed.yaml", "min-ready: 2", "min-ready: 0");
    expect(&mut transcript, "said in the plan", &place, &["plan"], exit::DONE);
    expect(&mut transcript, "to a script, too", &place, &["plan", "--exit-code"], exit::REFUSED);
    expect(&mut transcript, "and not done", &place, &["apply", "--yes", "--deadline", "1s"], exit::REFUSED);
    let servers = place.stage.world.servers(&"sandbox".into());
    assert_eq!(servers.len(), 2);
    transcript.check();
}

/// What nothing but a person can bring on is not "nothing to do".
#[test]
fn what_cannot_be_met() {
    let mut transcript = Transcript::new("codes-unmet");
    let full = Place::filled();
    full.edit(POOL, "min-ready: 2", "min-ready: 4");
    full.edit(CONTROLLER, "max-servers: 6", "max-servers: 2");
    expect(&mut transcript, "as full as its file lets it be", &full, &["plan", "--exit-code"], exit::DONE);
    expect(&mut transcript, "as full as its file lets it be", &full, &["apply", "--yes"], exit::DONE);

    let place = Place::empty();
    let wrong = [
        ("a flavor nearly there", POOL, "flavor: m1.small", "flavor: m1.smal"),
        ("a flavor of another cloud", POOL, "flavor: m1.small", "flavor: standard"),
        ("an image that is not there", POOL, "{glance: debian-12}", "{glance: debian-99}"),
        ("a network that is not there", CONTROLLER, "networks: [ci-net]", "networks: [private]"),
    ];
    for (what, file, from, to) in wrong {
        let right = fs::read_to_string(place.path(file)).expect("a file");
        place.edit(file, from, to);
        expect(&mut transcript, what, &place, &["plan", "--exit-code"], exit::REFUSED);
        if what.contains("nearly") {
            expect(&mut transcript, what, &place, &["status"], exit::DONE);
            expect(&mut transcript, what, &place, &["apply", "--yes"], exit::REFUSED);
        }
        place.write(file, &right);
    }
    expect(&mut transcript, "mended", &place, &["plan", "--exit-code"], exit::CHANGES_PENDING);
    assert_eq!(place.stage.world.with(|state| state.log.iter().filter(|change| change.kind == "create-server").count()), 0);
    transcript.check();
}

#[test]
fn the_lock_is_held() {
    let mut transcript = Transcript::new("codes-lock");
    let place = Place::filled();
    let lock = try_lock(&place.path("lock")).expect("free");
    expect(&mut transcript, "held", &place, &["apply", "--yes"], exit::LOCKED);
    expect(&mut transcript, "waited for", &place, &["apply", "--yes", "--lock-timeout", "1s"], exit::LOCKED);
    expect(&mut transcript, "no matter for those that only look", &place, &["plan"], exit::DONE);
    drop(lock);
    expect(&mut transcript, "free again", &place, &["apply", "--yes"], exit::DONE);
    transcript.check();
}

/// Also where there is nothing to begin, and a node is on its way.
#[test]
fn a_passed_deadline_is_said() {
    let place = Place::since(jiff::SignedDuration::from_mins(3));
    place.stage.world.next_fate(Fate { build: BuildFate::Stuck, ..Fate::default() });
    place.passes(Some(jiff::SignedDuration::from_mins(1)));
    let said = place.run(&["apply", "--yes", "--deadline", "0s"]);
    let end = "; its deadline passed, the next run takes up what is left\n";
    assert!(said.code == Some(0) && said.stdout.ends_with(end) && said.stdout.contains("1 under way"), "{said:?}");
}

#[test]
fn what_is_named_and_is_not_there() {
    let mut transcript = Transcript::new("codes-named");
    let place = Place::filled();
    let missing = ["--desired-state", "nowhere", "plan"];
    expect(&mut transcript, "no desired state", &place, &missing, exit::USAGE);
    let file = ["--desired-state", "clouds.yaml", "validate"];
    expect(&mut transcript, "a desired state that is a file", &place, &file, exit::USAGE);
    let publish = ["image", "publish", "nowhere.qcow2", "ci-base"];
    expect(&mut transcript, "no file to publish", &place, &publish, exit::USAGE);
    let save = ["image", "save", "debian-12", "nowhere/debian.qcow2"];
    expect(&mut transcript, "no directory to save to", &place, &save, exit::USAGE);
    let to_a_directory = ["image", "save", "debian-12", "tmp", "--force"];
    expect(&mut transcript, "a directory to save to", &place, &to_a_directory, exit::USAGE);
    for named in [
        &["plan", "--pool", "nosuch"][..],
        &["explain", "nosuch"],
        &["image", "save", "nosuch", "file"],
        &["image", "save", "debian-12", "file", "--provider", "nosuch"],
        &["image", "pin", "nosuch"],
        &["image", "unpin", "nosuch"],
        &["image", "delete", "nosuch"],
        &["image", "delete", "--now", "nosuch"],
        &["image", "update", "nosuch"],
        &["image", "log", "nosuch"],
        &["image", "build", "nosuch"],
    ] {
        expect(&mut transcript, "a name that is nobody's", &place, named, exit::USAGE);
    }
    transcript.check();
}

#[test]
fn the_unexpected() {
    let mut transcript = Transcript::new("codes-unexpected");
    let place = Place::filled();
    let whole = fs::read_to_string(place.path(CONTROLLER)).expect("controller.yaml");
    let lock = place.path("lock").display().to_string();
    let other = place.path("nowhere/lock").display().to_string();
    place.write(CONTROLLER, &whole.replace(&lock, &other));
    expect(&mut transcript, "no directory for the lock", &place, &["apply", "--yes"], exit::UNEXPECTED);
    let other = place.path("tmp").display().to_string();
    place.write(CONTROLLER, &whole.replace(&lock, &other));
    expect(&mut transcript, "a lock that is a directory", &place, &["apply", "--yes"], exit::DONE);
    transcript.check();
}
