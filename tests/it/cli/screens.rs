//! What is seen where all is well: plan, apply and list, on a terminal and not, for people and for programs.

use serde_json::Value;

use super::place::{Place, Said};
use super::terminal::on_a_terminal;
use super::transcript::Transcript;

/// One of two nodes has had its build.
fn one_used() -> Place {
    let place = Place::filled();
    let (world, target) = (&place.stage.world, &place.stage.target);
    let first = world.agents(target).first().map(|agent| agent.name.clone()).expect("an agent");
    world.start_gearman_build(target, &first, 0).expect("a free agent");
    world.tick(1);
    place
}

const SCREENS: [&[&str]; 3] = [&["plan"], &["list"], &["status"]];

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).expect("JSON")
}

#[test]
fn a_plan_and_a_list_fit_eighty_columns() {
    let place = one_used();
    let mut transcript = Transcript::new("screens");
    for arguments in SCREENS {
        let said = transcript.run("one node was used", &place, arguments);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
        let wide: Vec<&str> = said.stdout.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:?}");
        assert!(!said.stdout.contains('\u{1b}'));
    }
    // One line a change, as a journal has it; chains run side by side, so they are put into an order here.
    let arguments = ["apply", "--yes", "--deadline", "1s"];
    let mut said = place.run(&arguments);
    let mut lines: Vec<&str> = said.stdout.lines().collect();
    lines.sort_unstable();
    said.stdout = lines.join("\n") + "\n";
    transcript.add("one node was used; lines in the order of the alphabet", &arguments, &said);
    assert_eq!(said.code, Some(0));
    transcript.check();
}

/// Names as long as real ones are.
#[test]
fn a_list_of_long_names_fits_a_screen_and_is_whole_elsewhere() {
    let place = Place::empty();
    let pool = "desired-state/pools/ci-jessie-wikimedia-with-docker.yaml";
    std::fs::rename(place.path("desired-state/pools/ci-debian.yaml"), place.path(pool)).expect("renamed");
    place.passes(None);
    let titles = ["node", "state", "age", "provider", "image", "ip", "jenkins"];
    let screen = place.run(&["list"]).stdout;
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(screen.ends_with("no room for: provider, image (a wider terminal, or --format json)\n"), "{screen}");
    let whole = place.command(&["list"]).env_remove("COLUMNS").output().expect("the program starts").stdout;
    let whole = String::from_utf8_lossy(&whole).into_owned();
    assert_eq!(whole.lines().next().expect("titles").split_whitespace().collect::<Vec<_>>(), titles, "{whole}");
    assert_eq!(whole.lines().count(), 3, "{whole}");
}

fn first_name(place: &Place) -> String {
    let agents = place.stage.world.agents(&place.stage.target);
    agents.first().map(|agent| agent.name.to_string()).expect("an agent")
}

/// No table is wider than the screen, and no name is lost in it.
#[test]
fn names_of_fifty_letters_leave_every_screen_readable() {
    let place = Place::empty();
    let (old, pool) = ("ci-debian", "ci-debian-12-bookworm-amd64-with-docker-and-buildx");
    let file = |name: &str| format!("desired-state/pools/{name}.yaml");
    std::fs::rename(place.path(&file(old)), place.path(&file(pool))).expect("renamed");
    place.passes(None);
    let node = place.stage.world.servers(&"sandbox".into()).into_iter().map(|server| server.name).min().expect("a node");
    for arguments in [&["list"][..], &["status"], &["-v", "plan"]] {
        let said = place.run(arguments);
        let wide: Vec<&str> = said.stdout.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{arguments:?}: {wide:?}");
        assert!(said.stdout.lines().count() < 30, "no column a letter wide: {}", said.stdout);
    }
    let first: String = place.run(&["list"]).stdout.lines().skip(1).take(2).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(first, node.to_string(), "in two pieces");
    // What is deleted has its reason below its name, not in a column of three letters.
    place.stage.world.start_gearman_build(&place.stage.target, &node, 0).expect("a free agent");
    place.stage.world.tick(1);
    let plan = place.run(&["plan"]).stdout;
    assert!(plan.contains(&format!("- delete  {node}\n            ")), "{plan}");
    let piped = place.command(&["status"]).env_remove("COLUMNS").output().expect("the program starts").stdout;
    let piped = String::from_utf8_lossy(&piped).into_owned();
    assert_eq!(piped.lines().filter(|line| line.starts_with(pool)).count(), 1, "{piped}");
}

#[test]
fn errors_are_folded_on_a_terminal_alone() {
    let place = Place::filled();
    let name = "a-directory-of-a-long-name-that-nobody-has-made-in-this-place";
    let said = place.run(&["--desired-state", name, "plan"]);
    assert_eq!(said.stderr.lines().count(), 2, "a log is searched by the line: {}", said.stderr);
    let Some(seen) = on_a_terminal(&place, &format!("--desired-state {name} plan"), "", true) else { return };
    assert_eq!(seen.code, said.code);
    assert!(seen.stdout.lines().all(|line| line.chars().count() <= 80), "{}", seen.stdout);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&seen.stdout), words(&said.stderr), "the same words");
    assert!(seen.stdout.lines().count() > 2, "{}", seen.stdout);
}

/// A cloud that does not answer is no empty one.
#[test]
fn what_was_not_seen_is_not_called_empty() {
    let place = Place::filled();
    place.answer("POST /os/sandbox/identity", 503, "text/plain", "busy");
    let mut transcript = Transcript::new("not-seen");
    let first = first_name(&place);
    for arguments in [&["list"][..], &["image", "list"], &["status"], &["explain", &first]] {
        let said = transcript.run("Keystone is away", &place, arguments);
        assert_eq!(said.code, Some(0), "a gap that is said");
    }
    let apply = place.run(&["apply", "--yes"]);
    let end = "demo: nothing to do now (0 nodes); not seen: sandbox\n";
    assert!(apply.code == Some(0) && apply.stdout.ends_with(end), "{}", apply.stdout);
    for arguments in [&["list", "--format", "json"][..], &["image", "list", "--format", "json"]] {
        let list = json(&place.run(arguments));
        assert_eq!(list["gaps"][0]["source"], serde_json::json!({ "provider": "sandbox" }), "{list}");
    }
    let status = json(&place.run(&["status", "--format", "json"]));
    assert_eq!(status["providers"][0]["seen"], false);
    let node = json(&place.run(&["explain", &first, "--format", "json"]));
    assert_eq!((&node["state"], &node["gaps"][0]["answered"]), (&"not seen".into(), &"busy (HTTP 503)".into()));
    transcript.check();
}

/// A controller that does not answer tells of no agent whether it is there.
#[test]
fn behind_an_unseen_jenkins_nobody_is_called_ready() {
    let place = Place::filled();
    place.answer("/jenkins/", 503, "text/html", "<html>starting</html>");
    let mut transcript = Transcript::new("jenkins-not-seen");
    let first = first_name(&place);
    for arguments in [&["plan"][..], &["list"], &["status"], &["explain", &first], &["-v", "plan"]] {
        let said = transcript.run("Jenkins starts", &place, arguments);
        assert_eq!(said.code, Some(0), "a gap that is said");
        assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{}", said.stdout);
        assert!(!said.stdout.contains(" is ready") && !said.stdout.contains("2 ready"), "{}", said.stdout);
    }
    let apply = transcript.run("Jenkins starts", &place, &["apply", "--yes"]);
    assert!(apply.stdout.ends_with("nothing to do now (2 nodes, 2 not seen); not seen: ci\n"), "{}", apply.stdout);
    let list = json(&place.run(&["list", "--format", "json"]));
    assert_eq!(list["nodes"].as_array().expect("nodes").iter().filter(|node| node["state"] == "not seen").count(), 2);
    let plan = json(&place.run(&["plan", "--format", "json"]));
    let counts = &plan["pools"][0]["counts"];
    assert_eq!((&counts["ready"], &counts["unseen"], &plan["chains"]), (&0.into(), &2.into(), &serde_json::json!([])));
    transcript.check();
}

#[test]
fn programs_read_json() {
    let place = one_used();
    let plan = json(&place.run(&["plan", "--format", "json"]));
    let keys: Vec<&String> = plan.as_object().expect("a map").keys().collect();
    for key in ["chains", "gaps", "head", "pools", "refusals", "waits"] {
        assert!(keys.iter().any(|there| *there == key), "{key}: {keys:?}");
    }
    let verbs: Vec<&Value> = plan["chains"].as_array().expect("chains").iter().map(|chain| &chain["verb"]).collect();
    assert_eq!(verbs, ["retire", "create"]);
    let rows = json(&place.run(&["list", "--format", "json"]));
    let states: Vec<&Value> = rows["nodes"].as_array().expect("rows").iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["used", "ready"]);
    let observed = json(&place.run(&["observe"]));
    let servers = observed.pointer("/lists/providers/sandbox/Ok/servers").and_then(Value::as_array);
    assert_eq!(servers.map(Vec::len), Some(2), "{observed}");
}

/// The text without its colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += part.split_once('m').expect("a colour's end").1;
    }
    out
}

#[test]
fn colour_adds_nothing_but_colour() {
    let place = one_used();
    let Some(coloured) = on_a_terminal(&place, "plan", "", false) else { return };
    let expected = place.run(&["plan"]).stdout;
    for (code, what) in [("31", "- delete"), ("32", "+ create")] {
        assert!(coloured.stdout.contains(&format!("\u{1b}[{code}m{what}")), "{what}: {}", coloured.stdout);
    }
    let steady = super::transcript::steady;
    assert_eq!(steady(&plain(&coloured.stdout)), steady(&expected));
    let without = on_a_terminal(&place, "plan", "", true).expect("it was there before");
    assert_eq!(steady(&without.stdout), steady(&expected));
}

#[test]
fn on_a_terminal_apply_asks() {
    let place = one_used();
    let changes = || place.stage.world.with(|state| state.log.len());
    let before = changes();
    for (answer, said_no) in [("n\n", true), ("\n", true), ("yess\n", true)] {
        let Some(said) = on_a_terminal(&place, "apply --deadline 1s", answer, true) else { return };
        assert!(said.stdout.contains("- delete") && said.stdout.contains("\nApply? [y/N] "), "{}", said.stdout);
        assert_eq!(said.stdout.ends_with("demo: nothing was changed\n"), said_no, "{answer:?}: {}", said.stdout);
        assert_eq!((said.code, changes()), (Some(0), before), "{answer:?}");
    }
    let said = on_a_terminal(&place, "apply --deadline 1s", "y\n", true).expect("it was there before");
    assert!(said.stdout.contains("done: 1 created"), "{}", said.stdout);
    assert!(changes() > before);
}
