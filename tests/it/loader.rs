//! Broken desired states and the exact words that they bring. The cases stand in `fixtures/desired/broken`.

mod cases;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use poolkeeper::commands::validate::validate;
use poolkeeper::desired::parse;
use poolkeeper::load::{LoadEnv, LoadError, load};
use proptest::prelude::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/desired");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/desired-state");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("fixture") {
        let path = entry.expect("entry").path();
        let to = to.join(path.file_name().expect("name"));
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(drop).expect("copy") }
    }
}

/// A copy of the valid state in a directory called `desired-state`.
fn valid() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().expect("directory");
    let dir = temp.path().join("desired-state");
    copy(&Path::new(FIXTURES).join("valid"), &dir);
    (temp, dir)
}

fn env() -> LoadEnv {
    LoadEnv { credentials_dir: Some(PathBuf::from("/run/credentials/poolkeeper.service")) }
}

/// Exit code and words, with the directory as if it were the current one's.
fn said(dir: &Path) -> String {
    let mut out = Vec::new();
    let code = validate(dir, &env(), &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    let parent = format!("{}/", dir.parent().expect("parent").display());
    let result = match code {
        Ok(code) => format!("(exit {code})\n{out}"),
        Err(error) => format!("(error)\n{error:#}\n"),
    };
    result.replace(&parent, "")
}

#[test]
fn broken_states_bring_their_words() {
    #[expect(clippy::disallowed_methods, reason = "a person accepts new words by this")]
    let accept = std::env::var_os("POOLKEEPER_ACCEPT").is_some();
    let mut cases: Vec<PathBuf> =
        fs::read_dir(Path::new(FIXTURES).join("broken")).expect("cases").map(|entry| entry.expect("entry").path()).collect();
    cases.sort();
    let mut wrong = String::new();
    let mut seen = std::collections::BTreeMap::new();
    for path in &cases {
        let case = fs::read_to_string(path).expect("case");
        let (_temp, dir) = valid();
        let (sections, expect) = cases::sections(&case);
        for section in &sections {
            section.apply(&dir);
        }
        let said = format!(">>> {}", said(&dir));
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        for line in said.lines().filter(|line| line.contains('^')) {
            assert!(line.chars().count() <= 80, "{name}: a line is wider than 80 columns: {line}");
        }
        if accept {
            fs::write(path, format!("{}{said}", &case[..expect])).expect("written");
        } else if said != case[expect..] {
            let _ = write!(wrong, "\n{name}: expected\n{}but got\n{said}", &case[expect..]);
        }
        if let Some(other) = seen.insert(said, name.clone()) {
            panic!("{name} shows nothing that {other} does not");
        }
    }
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    assert!(wrong.is_empty(), "POOLKEEPER_ACCEPT=1 accepts what came out:{wrong}");
}

#[test]
fn the_valid_state_is_valid() {
    let (_temp, dir) = valid();
    assert_eq!(said(&dir), "(exit 0)\ncontint: valid (1 provider, 1 target, 1 pool, 1 image)\n");
}

#[test]
fn the_example_is_valid_without_warnings() {
    let loaded = load(Path::new(EXAMPLE), &LoadEnv::default()).expect("the example loads");
    assert_eq!(loaded.warnings, []);
    let pools: Vec<&str> = loaded.desired.pools.keys().map(poolkeeper::names::PoolName::as_str).collect();
    assert_eq!(pools, ["ci-jessie-wikimedia", "ci-trusty"]);
    assert!(loaded.desired.pools.values().all(|pool| pool.scripts.is_some()), "each has its scripts");
}

/// Each key of the tables, set to what no key takes, must be spoken of: none is read past.
#[test]
fn no_key_is_silently_ignored() {
    use poolkeeper::desired::tables::{self, Table};
    let files: [(&str, &Table, &str); 12] = [
        ("controller.yaml", &tables::CONTROLLER, "KEY: VALUE\n"),
        ("controller.yaml", &tables::PROVIDER, "providers: {p: {KEY: VALUE}}\n"),
        ("controller.yaml", &tables::ADDRESS, "providers: {p: {address: {KEY: VALUE}}}\n"),
        ("controller.yaml", &tables::TARGET, "targets: {t: {KEY: VALUE}}\n"),
        ("controller.yaml", &tables::LIMITS, "limits: {KEY: VALUE}\n"),
        ("image", &tables::IMAGE, "KEY: VALUE\n"),
        ("image", &tables::DISKIMAGE, "diskimage: {KEY: VALUE}\n"),
        ("image", &tables::FLAVOR, "flavor: {KEY: VALUE}\n"),
        ("pool", &tables::POOL, "KEY: VALUE\n"),
        ("pool", &tables::POOL_IMAGE, "image: {KEY: VALUE}\n"),
        ("pool", &tables::MESSAGE, "used-when: [{KEY: VALUE}]\n"),
        ("pool", &tables::AGENT, "agent: {KEY: VALUE}\n"),
    ];
    assert_eq!(files.len(), tables::ALL.len());
    for (kind, table, template) in files {
        for key in table.keys {
            let text = template.replace("KEY", key.name).replace("VALUE", "[[{nobody: takes this}]]");
            let faults = match kind {
                "pool" => parse::pool::parse(kind, "ci", &text).faults,
                "image" => parse::image::parse(kind, "ci", &text).faults,
                _ => parse::controller::parse(kind, &text).faults,
            };
            let spoken = faults
                .iter()
                .any(|fault| fault.path.split(['.', '[']).any(|step| step == key.name) && !fault.message.contains("unknown key"));
            assert!(spoken, "{} of {}: {faults:?}", key.name, table.what);
        }
    }
}

/// `docs/desired-state.md` has the keys of the tables, in their order, with their defaults.
#[test]
fn the_documentation_has_each_key_with_its_default() {
    use poolkeeper::desired::tables::{self, Preset, Table};
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/desired-state.md");
    let text = fs::read_to_string(path).expect("the documentation");
    let mut written: std::collections::BTreeMap<&str, Vec<(String, String)>> = std::collections::BTreeMap::new();
    let mut heading = "";
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once("` | ").expect("a key");
            let default = rest.split(" | ").next().expect("a default");
            written.entry(heading).or_default().push((key.to_owned(), default.to_owned()));
        }
    }
    let headings: [(&str, &Table); 12] = [
        ("controller.yaml", &tables::CONTROLLER),
        ("A provider", &tables::PROVIDER),
        ("address", &tables::ADDRESS),
        ("A target", &tables::TARGET),
        ("limits", &tables::LIMITS),
        ("images/NAME.yaml", &tables::IMAGE),
        ("diskimage", &tables::DISKIMAGE),
        ("flavor", &tables::FLAVOR),
        ("pools/NAME.yaml", &tables::POOL),
        ("image", &tables::POOL_IMAGE),
        ("message", &tables::MESSAGE),
        ("agent", &tables::AGENT),
    ];
    assert_eq!(headings.len(), tables::ALL.len());
    for (heading, table) in headings {
        let known = table.keys.iter().map(|key| {
            let default = match key.preset {
                Preset::Required => "required".to_owned(),
                Preset::Is("null") => "none".to_owned(),
                Preset::Is(default) => format!("`{default}`"),
                Preset::From(words) => words.to_owned(),
                Preset::NotYet(only) => {
                    assert!(text.contains(&format!("Only `{only}`")), "the one value of {}", key.name);
                    "not yet".to_owned()
                }
            };
            (key.name.to_owned(), default)
        });
        let known: Vec<_> = known.collect();
        assert_eq!(written.get(heading), Some(&known), "{heading}");
    }
}

/// The defaults of the tables, where everything that can be is left out.
#[test]
fn defaults_are_read_from_the_tables() {
    let (_temp, dir) = valid();
    fs::write(
        dir.join("pools/ci.yaml"),
        "image: {glance: ci-image}\nflavor: m1.medium\nproviders: [eqiad]\ntarget: ci1\nmin-ready: 2\nmax-servers: 5\n",
    )
    .expect("written");
    let desired = load(&dir, &env()).expect("it loads").desired;
    let shown = serde_json::to_string_pretty(&desired).expect("JSON").replace(&dir.display().to_string(), "DIR");
    let path = Path::new(FIXTURES).join("defaults.json");
    #[expect(clippy::disallowed_methods, reason = "a person accepts new values by this")]
    if std::env::var_os("POOLKEEPER_ACCEPT").is_some() {
        fs::write(&path, format!("{shown}\n")).expect("written");
    }
    assert_eq!(fs::read_to_string(&path).expect("expected values").trim_end(), shown);
}

#[test]
fn paths_and_secrets_are_found_from_the_directory() {
    let (_temp, dir) = valid();
    let target = |text: &str, env: &LoadEnv| {
        let controller = fs::read_to_string(dir.join("controller.yaml")).expect("controller").replace("keys/token", text);
        let other = dir.parent().expect("parent").join("other");
        copy(&dir, &other);
        fs::write(other.join("controller.yaml"), controller).expect("written");
        let desired = load(&other, env).expect("it loads").desired;
        let target = desired.controller.targets.values().next().expect("a target").secret.clone();
        format!("{target:?}").replace(&other.display().to_string(), "DIR")
    };
    assert_eq!(target("keys/token", &env()), r#"TokenFile("DIR/keys/token")"#);
    assert_eq!(target("/etc/token", &env()), r#"TokenFile("/etc/token")"#);
    assert_eq!(target("token", &env()), r#"TokenFile("/run/credentials/poolkeeper.service/token")"#);
    assert_eq!(target("token", &LoadEnv::default()), r#"TokenFile("$CREDENTIALS_DIRECTORY/token")"#);
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let (_temp, dir) = valid();
    let error = load(&dir.join("nowhere"), &env()).expect_err("nothing to load");
    assert!(matches!(error, LoadError::Io { .. }), "{error}");
}

/// A directory as git leaves it, without git.
fn with_git(dir: &Path, files: &[(&str, &str)]) {
    for (file, text) in files {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("written");
    }
}

const COMMIT: &str = "3f2a91c0d4e5f60718293a4b5c6d7e8f90a1b2c3\n";

#[test]
fn the_revision_is_read_from_git() {
    let revision = |files: &[(&str, &str)]| {
        let (temp, dir) = valid();
        with_git(temp.path(), files);
        load(&dir, &env()).expect("it loads").desired.revision
    };
    let found = Some("3f2a91c".to_owned());
    assert_eq!(revision(&[(".git/HEAD", "ref: refs/heads/main\n"), (".git/refs/heads/main", COMMIT)]), found);
    assert_eq!(revision(&[(".git/HEAD", COMMIT)]), found, "no branch");
    let packed = format!("# pack-refs with: peeled fully-peeled sorted\n{} refs/heads/main\n^{COMMIT}", COMMIT.trim());
    assert_eq!(revision(&[(".git/HEAD", "ref: refs/heads/main\n"), (".git/packed-refs", &packed)]), found);
    let linked = [
        ("desired-state/.git", "gitdir: ../repo/worktrees/w\n"),
        ("repo/worktrees/w/HEAD", "ref: refs/heads/main\n"),
        ("repo/worktrees/w/commondir", "../..\n"),
        ("repo/refs/heads/main", COMMIT),
    ];
    assert_eq!(revision(&linked), found, "a linked work tree");
    assert_eq!(revision(&[(".git/HEAD", "ref: refs/heads/main\n")]), None, "no commit yet");
    assert_eq!(revision(&[(".git/HEAD", "ref: HEAD\n")]), None, "a loop");
    assert_eq!(revision(&[(".git/HEAD", "ref: ../../secret\n"), ("secret", COMMIT)]), None, "out of the repository");
    assert_eq!(revision(&[]), None, "no work tree");
}

#[test]
fn a_checkout_under_way_is_refused() {
    let (temp, dir) = valid();
    with_git(temp.path(), &[(".git/HEAD", COMMIT), (".git/index.lock", "")]);
    let LoadError::Faults { faults, .. } = load(&dir, &env()).expect_err("refused") else { panic!("a fault") };
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.contains("git is changing this work tree"), "{}", faults[0].message);
    assert!(faults[0].hint.as_ref().is_some_and(|hint| hint.contains(".git/index.lock")));
}

/// Everything that a parser may be given, and what it makes of it is shown.
fn parse_all(text: &str) {
    let mut faults = parse::controller::parse("controller.yaml", text).faults;
    faults.extend(parse::pool::parse("pools/ci.yaml", "ci", text).faults);
    faults.extend(parse::image::parse("images/snap.yaml", "snap", text).faults);
    assert!(!faults.is_empty(), "no text is a valid file of all three kinds");
    poolkeeper::desired::faults::sort(&mut faults);
    for colour in [false, true] {
        let shown = poolkeeper::desired::faults::render("desired-state", &faults, colour);
        assert!(colour || !shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
}

fn valid_text() -> impl Strategy<Value = String> {
    let read = |file: &str| fs::read_to_string(Path::new(FIXTURES).join("valid").join(file)).expect("fixture");
    let example = |file: &str| fs::read_to_string(Path::new(EXAMPLE).join(file)).expect("example");
    prop::sample::select(vec![
        read("controller.yaml"),
        read("pools/ci.yaml"),
        read("images/snap.yaml"),
        example("controller.yaml"),
        example("pools/ci-trusty.yaml"),
    ])
}

/// What YAML is made of, so that most mutations are read to some depth.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "\n",
        "\r\n",
        "\r",
        "\t",
        " ",
        "  ",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "|\n",
        ">\n",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "#",
        "---\n",
        "...\n",
        "~",
        "null",
        "yes",
        "08",
        "0x1f",
        "1e9",
        "-1",
        "é",
        "日本",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\0",
        "\u{1b}",
        "<<: ",
        "? ",
        "%YAML 1.2\n",
        "password: x",
        "99999999999999999999",
    ];
    prop_oneof![prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), any::<char>().prop_map(|c| c.to_string())]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_mutation_panics(text in valid_text(), cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, piece()), 1..6)) {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, gone, piece) in cuts {
            let at = at.index(letters.len() + 1);
            let end = (at + gone).min(letters.len());
            letters.splice(at..end, piece.chars());
        }
        parse_all(&letters.into_iter().collect::<String>());
    }

    #[test]
    fn no_text_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        parse_all(&pieces.concat());
    }
}
