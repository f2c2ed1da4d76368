//! `image publish` and `image save` against the served sandbox: whole, refused, cut off at every call.
#![expect(clippy::indexing_slicing, reason = "a helper of a test fails by panicking, as the test does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use poolkeeper::names::ProviderName;
use poolkeeper::observed::Image;
use poolkeeper::publish::{Digests, Hasher, half_made_name, properties};
use poolkeeper::sandbox::{Drop, HttpFault, HttpFaultAnswer, Stop};

use crate::killed::end;
use crate::served::{Served, Shape};

pub(crate) const CLOUD: &str = "cloud-0";

pub(crate) fn served() -> Served {
    Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 })
}

/// Longer than what is read, sent or kept at a time, and of no pattern that parts share.
pub(crate) fn content(seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(700_001)
    .collect();
    bytes[..4].copy_from_slice(b"QFI\xfb");
    bytes
}

pub(crate) fn write(served: &Served, name: &str, content: &[u8]) -> PathBuf {
    let path = served.desired_state().join("..").join(name);
    fs::write(&path, content).expect("a file");
    path
}

pub(crate) fn digests(content: &[u8]) -> Digests {
    let mut hasher = Hasher::default();
    hasher.update(content);
    hasher.finish()
}

pub(crate) fn images(served: &Served) -> Vec<Image> {
    served.world.with(|state| state.clouds[CLOUD].images.iter().map(|image| image.seen.clone()).collect())
}

pub(crate) fn names(served: &Served) -> Vec<String> {
    let mut names: Vec<String> = images(served).into_iter().map(|image| image.name).collect();
    names.sort_unstable();
    names
}

/// What the image of this name has for data.
pub(crate) fn data(served: &Served, name: &str) -> Option<Digests> {
    served.world.with(|state| {
        let mut images = state.clouds[CLOUD].images.iter();
        images.find(|image| image.seen.name == name)?.data.as_ref().map(|stored| stored.digests.clone())
    })
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(served: &Served, arguments: &[&str]) -> Output {
    served.poolkeeper(arguments).output().expect("the binary")
}

pub(crate) fn publish(served: &Served, path: &Path) -> Output {
    run(served, &["image", "publish", &path.to_string_lossy(), "ci-base"])
}

/// One answer in place of the true one.
fn fault(served: &Served, of: &str, answer: HttpFaultAnswer, times: u32) {
    served.world.with(|state| state.faults.http.push(HttpFault { of: of.to_owned(), answer, times }));
}

fn say(status: u16, message: &str) -> HttpFaultAnswer {
    let body = format!(r#"{{"message": "{message}<br /><br />\n", "code": "{status}", "title": "x"}}"#);
    HttpFaultAnswer::Say { status, headers: Vec::new(), body }
}

#[test]
fn a_file_becomes_the_image_of_a_name_and_the_old_one_steps_back() {
    let served = served();
    let (one, two, three) = (content(1), content(2), content(3));
    let files = [write(&served, "1", &one), write(&served, "2", &two), write(&served, "3", &three)];
    let path = files[0].to_string_lossy().into_owned();
    let said = served.done(&["image", "publish", &path, "ci-base", "--min-disk", "5", "--property", "os_distro=debian"], "first");
    assert!(said.contains(&format!("uploaded  {path} to {CLOUD}: 683.5 KiB (700001 bytes)\n")), "{said}");
    assert!(said.contains(&format!("checked   sha512 {}\n", digests(&one).sha512)), "{said}");
    let image = images(&served).into_iter().find(|image| image.name == "ci-base").expect("it has its name");
    assert!(said.ends_with(&format!("published ci-base: image {}\n", image.id)), "{said}");
    assert_eq!((image.status.as_str(), data(&served, "ci-base")), ("active", Some(digests(&one))));
    assert_eq!(image.properties.get("os_distro").map(String::as_str), Some("debian"));
    assert_eq!(image.properties.get("poolkeeper_controller"), None, "no image of ours to keep or to delete");
    let (format, min_disk) = served.world.with(|state| {
        let image = state.clouds[CLOUD].image(image.id.as_str()).expect("it is there");
        (image.disk_format.clone(), image.min_disk)
    });
    assert_eq!((format.as_deref(), min_disk), (Some("qcow2"), 5), "its first bytes tell");

    let again = served.done(&["image", "publish", &path, "ci-base"], "the same again");
    assert_eq!(again, format!("there     ci-base is these very bytes already: image {} in {CLOUD}\n", image.id));
    for (file, nth) in files[1..].iter().zip(["", "-2"]) {
        let said = served.done(&["image", "publish", &file.to_string_lossy(), "ci-base"], "another");
        assert!(said.contains("renamed   the old ci-base (") && said.contains(") to ci-base_old_2"), "{said}");
        assert_eq!(said.contains("-2\n"), nth == "-2", "{said}");
    }
    let names = names(&served);
    assert_eq!((names.len(), names.iter().filter(|name| name.starts_with("ci-base_old_2")).count()), (4, 2), "{names:?}");
    assert_eq!(data(&served, "ci-base"), Some(digests(&three)));
}

/// An old image, a new file, and a half-made one of another file that an earlier call left.
pub(crate) fn scene(served: &Served) -> (PathBuf, Digests) {
    let (old, other, new) = (content(1), content(2), content(3));
    let old = write(served, "old", &old);
    served.done(&["image", "publish", &old.to_string_lossy(), "ci-base"], "the old one");
    served.world.with(|state| {
        for (deployment, file) in [("contint", digests(&other)), ("another", of_theirs())] {
            let marks = properties(&deployment.into(), "ci-base", &file);
            let name = half_made_name("ci-base", &file);
            state.new_image(&ProviderName::from(CLOUD), &name, Some("raw".to_owned()), (0, 0), marks).expect("a record");
        }
    });
    (write(served, "new", &new), digests(&new))
}

/// What another deployment is publishing under the same name.
fn of_theirs() -> Digests {
    digests(&content(4))
}

pub(crate) fn theirs() -> String {
    half_made_name("ci-base", &of_theirs())
}

/// One image of the name, its data whole; the old one beside it; nothing of ours that is half made.
pub(crate) fn settled(served: &Served, new: &Digests, when: &str) {
    assert_eq!(data(served, "ci-base").as_ref(), Some(new), "{when}");
    let names = names(served);
    let begin = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
    assert_eq!((begin("ci-base_old_2"), begin("ci-base"), begin("debian-12")), (1, 3, 1), "{when}: {names:?}");
    assert!(names.contains(&theirs()), "{when}: another deployment's is not touched");
    assert!(images(served).iter().all(|image| image.name == theirs() || image.status == "active"), "{when}");
}

/// A publish that is killed at that call; none: it ended before.
pub(crate) fn killed(served: &Served, path: &Path, stop: Stop, drop: Drop) -> Option<String> {
    let world = &served.world;
    world.with(|state| {
        state.faults.silent = true;
        state.faults.stop_at(stop, drop);
    });
    let arguments = ["image", "publish", &path.to_string_lossy(), "ci-base"];
    let child = served.poolkeeper(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    end(child.expect("the binary"), || world.stopped());
    let at = world.stopped_at()?;
    world.resume();
    Some(at)
}

/// The same call once more: what it said.
pub(crate) fn again(served: &Served, path: &Path, when: &str) -> String {
    served.done(&["image", "publish", &path.to_string_lossy(), "ci-base"], when)
}

#[test]
fn a_publish_that_is_killed_at_any_call_is_finished_by_the_next() {
    for drop in [Drop::BeforeEffect, Drop::AfterEffect] {
        let mut call = 0;
        loop {
            let served = served();
            let (path, new) = scene(&served);
            let stop = Stop::Like { begins: "", ends: "", after: call };
            let Some(at) = killed(&served, &path, stop, drop) else { break };
            let when = format!("{drop:?} {call}: {at}");
            again(&served, &path, &when);
            settled(&served, &new, &when);
            call += 1;
        }
        assert!(call > 10, "{drop:?}: a publish makes more calls than {call}");
    }
}

/// The calls of one kind that were carried out.
pub(crate) fn done(served: &Served, kind: &str) -> usize {
    served.world.with(|state| state.log.iter().filter(|change| change.kind == kind).count())
}

#[test]
fn an_upload_that_came_whole_is_not_sent_again() {
    let served = served();
    let (path, new) = scene(&served);
    let before = done(&served, "upload-image");
    // The next call after it is the look at its digest.
    let stop = Stop::Like { begins: "PUT", ends: "/file", after: 0 };
    killed(&served, &path, stop, Drop::AfterEffect).expect("it came so far");
    let said = again(&served, &path, "the next call");
    assert!(said.starts_with("found     an earlier upload of "), "{said}");
    settled(&served, &new, "the next call");
    assert_eq!(done(&served, "upload-image") - before, 1);
}

#[test]
fn a_publish_that_is_killed_in_mid_upload_is_begun_anew() {
    use std::io::Write as _;
    let served = served();
    let (path, new) = scene(&served);
    // A client that dies with half of its data sent: the record of this very file is there, queued or never ended.
    let marks = properties(&"contint".into(), "ci-base", &new);
    let id = served.world.with(|state| {
        let name = half_made_name("ci-base", &new);
        state.new_image(&ProviderName::from(CLOUD), &name, None, (0, 0), marks).expect("a record").seen.id.clone()
    });
    let mut half = std::net::TcpStream::connect(served.http.address()).expect("a connection");
    write!(half, "PUT /os/{CLOUD}/image/v2/images/{id}/file HTTP/1.1\r\nContent-Length: 700001\r\n\r\nQFI").expect("sent");
    let status = || images(&served).into_iter().find(|image| image.id == id).map(|image| image.status);
    while status().as_deref() != Some("saving") {
        std::thread::yield_now();
    }
    served.done(&["image", "publish", &path.to_string_lossy(), "ci-base"], "beside a dead upload");
    drop(half);
    settled(&served, &new, "beside a dead upload");
}

#[test]
fn what_glance_refuses_leaves_nothing_behind() {
    let upload = "PUT /os/cloud-0/image/";
    let cases: [(&str, HttpFaultAnswer, u32, &str); 4] = [
        (upload, say(413, "Image exceeds the storage quota"), 1, "Image exceeds the storage quota (HTTP 413"),
        (upload, say(409, "Image status transition from active to saving is not allowed"), 1, "transition from active (HTTP 409"),
        (upload, say(401, "This server could not verify"), 2, "This server could not verify (HTTP 401"),
        ("POST /os/cloud-0/image/v2/images", say(403, "Quota exceeded"), 1, "Quota exceeded (HTTP 403"),
    ];
    for (of, answer, times, words) in cases {
        let served = served();
        let (path, _) = scene(&served);
        fault(&served, of, answer, times);
        let output = publish(&served, &path);
        let talk = text(&output.stderr);
        let said = words.split(' ').next().unwrap_or_default();
        assert_eq!(output.status.code(), Some(5), "{talk}");
        assert!(talk.starts_with("error: ") && talk.contains(said), "{talk}");
        assert_eq!(names(&served).len(), 3, "{words}: {:?}", names(&served));
    }
    let served = served();
    let (path, new) = scene(&served);
    fault(&served, upload, say(401, "This server could not verify"), 1);
    assert!(publish(&served, &path).status.success(), "one 401 brings one login, and the file once more");
    settled(&served, &new, "after a 401");
}

#[test]
fn an_image_that_is_not_the_file_is_not_published() {
    let served = served();
    let (path, _) = scene(&served);
    served.world.with(|state| state.faults.damages_uploads = true);
    let output = publish(&served, &path);
    let talk = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{talk}");
    assert!(talk.contains("the image is not what the file is: its sha512 is") && talk.contains("  hint: "), "{talk}");
    assert_eq!(names(&served), ["ci-base".to_owned(), theirs(), "debian-12".to_owned()]);
}

#[test]
fn what_cannot_be_published_is_said_before_any_call() {
    let served = Served::new(Shape { providers: 2, targets: 1, pools: 1, min_ready: 1 });
    let file = write(&served, "f", b"x");
    let (empty, file) = (write(&served, "empty", b"").to_string_lossy().into_owned(), file.to_string_lossy().into_owned());
    let long = "n".repeat(240);
    let one = ["--provider", "cloud-1"];
    let cases: [(&[&str], &str); 6] = [
        (&["publish", &file, "ci"], "several providers (cloud-0, cloud-1)"),
        (&["publish", &file, "ci", "--provider", "cloud-2"], "there is no such provider"),
        (&["publish", &empty, "ci", one[0], one[1]], "is no file with something in it"),
        (&["publish", &file, &long, one[0], one[1]], "is no name for an image"),
        (&["publish", &file, "ci", "--property", "poolkeeper_self=x"], "poolkeeper's own"),
        (&["save", "debian-12", &file, one[0], one[1]], "--force replaces it"),
    ];
    let (calls, ()) = served.recorded(|| {
        for (arguments, words) in cases {
            let output = run(&served, &[&["image"], arguments].concat());
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{words}");
            assert!(text(&output.stderr).contains(words), "{words}: {}", text(&output.stderr));
        }
    });
    assert!(calls.is_empty(), "{calls:?}");

    let served = self::served();
    let controller = served.desired_state().join("controller.yaml");
    let text_of = fs::read_to_string(&controller).expect("a file");
    let lock = text_of.lines().find(|line| line.starts_with("lock-file:")).expect("a lock");
    fs::write(&controller, text_of.replace(lock, "lock-file: /nonexistent/lock")).expect("a file");
    let file = write(&served, "f", b"x");
    let (calls, output) = served.recorded(|| publish(&served, &file));
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("the lock file /nonexistent/lock cannot be opened"));
    assert!(calls.is_empty(), "not after hours of uploading: {calls:?}");
}

#[test]
fn an_image_comes_back_whole_or_not_at_all() {
    let served = served();
    let bytes = content(9);
    let source = write(&served, "source", &bytes);
    served.done(&["image", "publish", &source.to_string_lossy(), "ci-base"], "published");
    let id = images(&served).into_iter().find(|image| image.name == "ci-base").expect("an image").id.to_string();
    let target = served.desired_state().join("../target");
    let part = served.desired_state().join("../target.part");
    let target_text = target.to_string_lossy().into_owned();
    let save = |what: &str, more: &[&str]| run(&served, &[&["image", "save", what, &target_text], more].concat());

    fault(&served, "/file", HttpFaultAnswer::Half, 1);
    let cut = save("ci-base", &[]);
    let talk = text(&cut.stderr);
    assert!(cut.status.code() == Some(5) && talk.contains("before it was whole"), "{talk}");
    let of_target = || -> Vec<String> {
        let entries = fs::read_dir(served.desired_state().join("..")).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("target")).collect()
    };
    assert_eq!(of_target(), [""; 0], "nothing is left of it");

    fs::write(&part, "somebody's").expect("a file");
    let said = text(&save("ci-base", &[]).stdout);
    assert!(said.starts_with(&format!("saved     ci-base ({id}) of {CLOUD} to {target_text}: 683.5 KiB")), "{said}");
    assert!(said.ends_with(&format!("checked   sha512 {}\n", digests(&bytes).sha512)), "{said}");
    assert!(fs::read(&target).expect("a file") == bytes);
    assert_eq!(fs::read(&part).expect("a file"), b"somebody's", "never overwritten");
    fs::remove_file(&part).expect("the file");
    assert_eq!(of_target(), ["target"]);

    fs::write(&target, "mine").expect("a file");
    assert_eq!(save("ci-base", &[]).status.code(), Some(2));
    assert_eq!(fs::read(&target).expect("a file"), b"mine", "never overwritten");
    assert!(save(&id, &["--force"]).status.success(), "by its id");
    assert!(fs::read(&target).expect("a file") == bytes);
    let none = save("nothing", &["--force"]);
    assert!(text(&none.stderr).contains("no image of that name or id"), "{}", text(&none.stderr));
    let empty = save("debian-12", &["--force"]);
    assert!(text(&empty.stderr).contains("the image has no data"), "{}", text(&empty.stderr));
    assert!(fs::read(&target).expect("a file") == bytes, "a failed one replaces nothing");
}

/// In place of diskimage-builder's: a file of this call's own words.
const DISK_IMAGE_CREATE: &str = "#!/bin/sh
echo building
printf 'QFI\\373%s' \"$*|$DIB_RELEASE|$DIB_X|$ELEMENTS_PATH\" >\"$DIB_IMAGE_FILENAME.qcow2\"
";

#[test]
fn a_base_image_is_built_and_published() {
    use std::os::unix::fs::PermissionsExt as _;
    let served = served();
    let state = served.desired_state();
    let (bin, key) = (state.join("../bin"), state.join("../id_ed25519"));
    fs::create_dir_all(state.join("images")).expect("a folder");
    let image = format!(
        "providers: [{CLOUD}]\nbase-image: debian-base\nflavor: m1.small\nsetup-script: ready.sh\nscript-dir: scripts\n\
         private-key: '{}'\ndiskimage: {{elements: [debian, vm], release: bookworm, env: {{DIB_X: geheim}}}}\n",
        key.display()
    );
    fs::write(state.join("images/ci-jessie.yaml"), &image).expect("a file");
    fs::create_dir_all(&bin).expect("a folder");
    let build = |name: &str, more: &[&str]| {
        let directory = bin.to_string_lossy().into_owned();
        let mut command = served.poolkeeper(&[&["image", "build", name, "--directory", &directory], more].concat());
        // Nothing else: the machine may have the real one.
        command.env("PATH", &directory).output().expect("the binary")
    };
    let none = build("ci-jessie", &[]);
    let talk = text(&none.stderr);
    assert!(none.status.code() == Some(5) && talk.contains("disk-image-create is not on this machine"), "{talk}");
    let unknown = build("ci-jesie", &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("did you mean `ci-jessie`?"), "{}", text(&unknown.stderr));

    fs::write(bin.join("disk-image-create"), DISK_IMAGE_CREATE).expect("a file");
    fs::set_permissions(bin.join("disk-image-create"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let output = build("ci-jessie", &["--no-publish", "-v"]);
    let talk = text(&output.stderr);
    assert!(talk.contains(r#"program=disk-image-create arguments=["-x", "-t", "qcow2""#) && !talk.contains("geheim"), "{talk}");
    assert!(output.status.success() && text(&output.stdout).starts_with("built     "), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("building\n"), "what it says comes through: {}", text(&output.stderr));
    assert_eq!(names(&served), ["debian-12"], "made alone");
    let output = build("ci-jessie", &[]);
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("published debian-base: image "), "{said}{}", text(&output.stderr));
    let file = said.lines().next().and_then(|line| line.strip_prefix("built     ")?.split(": ").next()).expect("a file");
    let made = fs::read(file).expect("it stays");
    assert_eq!(data(&served, "debian-base"), Some(digests(&made)));
    let words = String::from_utf8_lossy(&made).into_owned();
    assert!(words.contains("-x -t qcow2 --no-tmpfs") && words.ends_with("debian vm|bookworm|geheim|"), "{words}");
}
