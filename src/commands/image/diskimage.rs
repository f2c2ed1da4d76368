//! One call of disk-image-create: the command line and environment that nodepool gave it, a file, and nothing else left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::Undone;
use super::group::{self, By, PATIENCE, Watch};
use super::kinds::ending;
use super::unique::Scratch;
use crate::desired::ScriptDir;
use crate::exit::Usage;
use crate::report::printable::last_lines;

/// What an image is made from.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// In Glance.
    pub name: &'a str,
    pub elements: &'a [String],
    /// `DIB_RELEASE`.
    pub release: Option<&'a str>,
    /// Above all else.
    pub env: &'a BTreeMap<String, String>,
    /// `NODEPOOL_SCRIPTDIR` has them.
    pub scripts: &'a ScriptDir,
}

/// Where and as what it is made.
#[derive(Debug, Clone, Copy)]
pub struct Making<'a> {
    /// `disk-image-create`.
    pub program: &'a Path,
    /// `qcow2`, `raw`, ...: diskimage-builder's word, and the file's ending.
    pub kind: &'a str,
    /// The file is made in it, and stays.
    pub directory: &'a Path,
    /// The desired state's own elements, where it has some.
    pub elements: Option<&'a Path>,
    /// For its scripts and its log.
    pub temporary: &'a Path,
    pub now: Timestamp,
}

/// The file that was made. What the program says goes to standard error as it comes. When it fails, nothing is left of it.
pub fn make(recipe: Recipe<'_>, making: Making<'_>) -> anyhow::Result<PathBuf> {
    let ending = ending(making.kind)?;
    let stem = stem(recipe.name, making)?;
    let scratch = Scratch::new(&plain(making.temporary, PLAIN)?, "poolkeeper-build");
    let scratch = scratch.with_context(|| format!("making a directory in {}", making.temporary.display()))?;
    let (scripts, log) = (scratch.path().join("scripts"), scratch.path().join("log"));
    write(recipe.scripts, &scripts)?;
    let mut command = command(recipe, making, Paths { stem: &stem, scripts: &scripts, log: &log })?;
    // Not the environment: what the recipe sets may be nobody else's business.
    tracing::info!(program = %making.program.display(), arguments = ?command.get_args().collect::<Vec<_>>(), "building");
    let file = PathBuf::from(format!("{}.{ending}", stem.display()));
    let result = run(&mut command, making.program, &log).and_then(|()| {
        let said = || format!("{} ended well, but {} is not there", making.program.display(), file.display());
        if file.is_file() { Ok(()) } else { Err(Undone::new(said(), "does it know this kind of file?").into()) }
    });
    if result.is_err() {
        // Nothing of this name was there before. What cannot be removed is no reason to hide why the build failed.
        for path in made(&stem).unwrap_or_default() {
            drop(if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
        }
    }
    result.map(|()| file)
}

/// How the files of this call, and no other file yet, begin: of the image's name only what a shell takes for one word.
fn stem(name: &str, making: Making<'_>) -> anyhow::Result<PathBuf> {
    let directory = plain(making.directory, PLAIN)?;
    if !directory.is_dir() {
        bail!(Usage(format!("--directory {}: there is no such directory", making.directory.display())));
    }
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let mut second = making.now.as_second();
    loop {
        let stem = directory.join(format!("{name}-{second}"));
        if made(&stem).with_context(|| format!("reading {}", directory.display()))?.is_empty() {
            return Ok(stem);
        }
        // A call before ended in its first second.
        second += 1;
    }
}

/// What disk-image-create's shell scripts, which quote no path, take for more than a character.
const PLAIN: &[char] = &['*', '?', '['];

/// As absolute: hooks run wherever they like to.
fn plain(path: &Path, refused: &[char]) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| format!("the directory {}", path.display()))?;
    if path.to_string_lossy().contains(|c: char| c.is_whitespace() || refused.contains(&c)) {
        bail!(Usage(format!("{}: diskimage-builder takes no path with a blank or one of {}", path.display(), one_of(refused))));
    }
    Ok(path)
}

fn one_of(refused: &[char]) -> String {
    refused.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" ")
}

/// Whatever begins with `STEM.`: the image, halves of it, what elements put beside it.
fn made(stem: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (stem.parent(), stem.file_name()) else { return Ok(Vec::new()) };
    let begins = format!("{}.", name.to_string_lossy());
    let mut made = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&begins) {
            made.push(entry.path());
        }
    }
    Ok(made)
}

#[derive(Debug, Clone, Copy)]
struct Paths<'a> {
    /// The file without its ending.
    stem: &'a Path,
    scripts: &'a Path,
    log: &'a Path,
}

/// As nodepool 0.1 to 0.3 called it: our own environment, then nodepool's variables, then the recipe's. The log is ours, and
/// what is printed is printed all the same.
fn command(recipe: Recipe<'_>, making: Making<'_>, paths: Paths<'_>) -> anyhow::Result<Command> {
    let mut command = Command::new(making.program);
    command.args(["-x", "-t", making.kind, "--no-tmpfs"]);
    if making.kind == "qcow2" {
        // For the qemu of old clouds.
        command.args(["--qemu-img-options", "compat=0.10"]);
    }
    command.arg("--logfile").arg(paths.log).env("DIB_QUIET", "0");
    command.arg("-o").arg(paths.stem).args(recipe.elements);
    command.env("DIB_RELEASE", recipe.release.unwrap_or_default());
    command.env("DIB_IMAGE_NAME", recipe.name).env("DIB_IMAGE_FILENAME", paths.stem).env("NODEPOOL_SCRIPTDIR", paths.scripts);
    if let Some(elements) = making.elements {
        command.env("ELEMENTS_PATH", plain(elements, &['*', '?', '[', ':'])?);
    }
    command.envs(recipe.env);
    Ok(command)
}

fn run(command: &mut Command, program: &Path, log: &Path) -> anyhow::Result<()> {
    let watch = Watch::start().context("watching for signals")?;
    // Its standard output is our standard error itself, so that a build outlives us when we are killed. Not a terminal: that may be
    // closed, and who cannot print does not clean up.
    let stdout = if io::stderr().is_terminal() { Stdio::piped() } else { Stdio::from(io::stderr()) };
    let started = group::spawn(command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()));
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let said = format!("{} is not on this machine", program.display());
            let hint = "install diskimage-builder (Debian: python3-diskimage-builder), qemu-img and sudo here, or build elsewhere \
                        and publish the file";
            return Err(Undone::new(said, hint).into());
        }
        Err(error) => return Err(error).with_context(|| format!("starting {}", program.display())),
    };
    // It prints through a filter that it does not wait for. The filter alone keeps the program's first standard error open.
    let (open, filter) = mpsc::channel::<()>();
    if let Some(mut said) = child.stderr.take() {
        std::thread::spawn(move || {
            pass_on(&mut said);
            drop(open);
        });
    }
    if let Some(mut said) = child.stdout.take() {
        std::thread::spawn(move || pass_on(&mut said));
    }
    let name = program.display().to_string();
    let ended = group::wait(&mut child, &name, OUTFILTER, &watch).with_context(|| format!("waiting for {name}"))?;
    drop(watch);
    let status = ended.status;
    match ended.by {
        By::Itself if status.success() => return Ok(()),
        By::Itself => {}
        By::Signal => {
            let said = format!("stopped by a signal: {name} has ended ({status}), and all that it had started; no image is made");
            return Err(Undone::new(said, "the same call again begins anew").into());
        }
        By::Kill => {
            let said = format!(
                "stopped by a signal: {name} did not end within {}m or was not waited for, and was killed",
                PATIENCE.as_mins()
            );
            let hint = "its mounts and loop devices may be left: look for `dib_build` in `mount` and `losetup`";
            let numbers = ended.left.join(" ");
            let left = if numbers.is_empty() { String::new() } else { format!("; of it goes on: `ps -fp '{numbers}'`") };
            return Err(Undone::new(said, &format!("{hint}{left}")).into());
        }
    }
    let _closed = filter.recv_timeout(FILTER);
    let before = fs::read(log).map(|log| before_cleanup(&String::from_utf8_lossy(&log))).unwrap_or_default();
    if before.is_empty() {
        return Err(Undone::new(format!("{} ended with {status}", program.display()), "its lines above say why").into());
    }
    let lines: Vec<String> = before.iter().map(|line| format!("\n  {line}")).collect();
    let said = format!("{} ended with {status}, after these lines:{}", program.display(), lines.concat());
    Err(Undone::new(said, "what it cleaned up afterwards is above, and all that was before").into())
}

/// To standard error, to the end: where that takes no more, what comes is read all the same.
fn pass_on(said: &mut impl io::Read) {
    if io::copy(said, &mut io::stderr()).is_err() {
        drop(io::copy(said, &mut io::sink()));
    }
}

/// The filter's script.
const OUTFILTER: &str = "outfilter.py";

/// For the filter's last lines. A process that a hook left behind may keep it open for ever.
const FILTER: Duration = Duration::from_secs(10);

/// Of what was said before a failure: a shell's trace, or a program's with its error 40 lines above its end.
const LINES: usize = 50;

/// Its very last lines are what it did in its trap: as many as there are mounts, and no word of why.
fn before_cleanup(log: &str) -> Vec<String> {
    let before: Vec<&str> = log.lines().take_while(|line| !line.ends_with(":   trap_cleanup")).collect();
    last_lines(&before.join("\n"), LINES)
}

/// `NODEPOOL_SCRIPTDIR`.
fn write(scripts: &ScriptDir, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
    for (name, content) in &scripts.files {
        let path = directory.join(name);
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path);
        let written = file.and_then(|mut file| file.write_all(content));
        written.with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program in place of diskimage-builder's, and an image that it is asked for.
    struct Scene {
        dir: tempfile::TempDir,
        elements: [String; 2],
        env: BTreeMap<String, String>,
        scripts: ScriptDir,
        program: PathBuf,
        temporary: PathBuf,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let (program, temporary) = (dir.path().join("disk-image-create"), dir.path().join("tmp"));
            fs::create_dir(&temporary).expect("a directory");
            fs::create_dir(dir.path().join("out")).expect("a directory");
            let env = [("DIB_X", "1 2"), ("ELEMENTS_PATH", "/own")].map(|(name, value)| (name.to_owned(), value.to_owned()));
            Self {
                dir,
                elements: ["debian".to_owned(), "vm".to_owned()],
                env: BTreeMap::from(env),
                scripts: ScriptDir { files: BTreeMap::from([("setup.sh".to_owned(), b"echo set up\n".to_vec())]) },
                program,
                temporary,
            }
        }

        fn recipe(&self) -> Recipe<'_> {
            Recipe {
                name: "ci-base",
                elements: &self.elements,
                release: Some("bookworm"),
                env: &self.env,
                scripts: &self.scripts,
            }
        }

        fn making<'a>(&'a self, directory: &'a Path) -> Making<'a> {
            let now = "2026-11-29T00:00:00Z".parse().expect("a time");
            let (program, temporary) = (self.program.as_path(), self.temporary.as_path());
            Making { program, kind: "qcow2", directory, elements: Some(Path::new("/elements")), temporary, now }
        }

        fn out(&self) -> PathBuf {
            self.dir.path().join("out")
        }

        /// The program says so and does so.
        fn does(&self, text: &str) {
            let text_file = self.dir.path().join("text");
            fs::write(&text_file, format!("#!/bin/sh\n{text}")).expect("a file");
            // By another process: what a fork of this one has open for writing cannot be executed.
            let mut install = Command::new("install");
            let installed = install.args(["-m", "755"]).arg(&text_file).arg(&self.program).status();
            assert!(installed.expect("install").success());
        }

        fn refused(&self, recipe: Recipe<'_>, making: Making<'_>) -> String {
            let why = make(recipe, making).expect_err("a no").to_string();
            assert_eq!(fs::read_dir(&self.temporary).expect("a directory").count(), 0, "{why}");
            why
        }
    }

    const RECORDS: &str = "{
    printf '%s\\n' \"$@\"
    echo \"$DIB_RELEASE|$DIB_IMAGE_NAME|$DIB_IMAGE_FILENAME|$ELEMENTS_PATH|$DIB_X|$DIB_QUIET\"
    cat \"$NODEPOOL_SCRIPTDIR/setup.sh\"
} >\"$DIB_IMAGE_FILENAME.qcow2\"
";

    #[test]
    fn a_file_is_made_as_nodepool_had_it_made() {
        let scene = Scene::new();
        // A killed call of this very pid.
        let left = scene.temporary.join(format!("poolkeeper-build-{}-0", std::process::id()));
        fs::create_dir(&left).expect("a directory");
        scene.does(RECORDS);
        let file = make(scene.recipe(), scene.making(&scene.out())).expect("a file");
        let stem = scene.out().join("ci-base-1795910400").display().to_string();
        assert_eq!(file.display().to_string(), format!("{stem}.qcow2"));
        let log = scene.temporary.join(format!("poolkeeper-build-{}-1/log", std::process::id())).display().to_string();
        let words =
            format!("-x\n-t\nqcow2\n--no-tmpfs\n--qemu-img-options\ncompat=0.10\n--logfile\n{log}\n-o\n{stem}\ndebian\nvm\n");
        let said = fs::read_to_string(&file).expect("text");
        assert_eq!(said, format!("{words}bookworm|ci-base|{stem}|/own|1 2|0\necho set up\n"));
        fs::remove_dir(&left).expect("theirs stays");
        assert_eq!(fs::read_dir(&scene.temporary).expect("a directory").count(), 0);

        let again = make(scene.recipe(), scene.making(&scene.out())).expect("another file");
        assert!(again.ends_with("ci-base-1795910401.qcow2"), "{}", again.display());
        assert_eq!(fs::read_to_string(&file).expect("text"), said, "the file of another call");
    }

    #[test]
    fn a_failed_call_says_what_was_before_its_cleanup_and_leaves_nothing() {
        let scene = Scene::new();
        let (recipe, out) = (scene.recipe(), scene.out());
        let why = |text: &str| {
            scene.does(text);
            let why = scene.refused(recipe, scene.making(&out));
            assert_eq!(fs::read_dir(&out).expect("a directory").count(), 0, "{why}");
            why
        };
        assert!(why("exit 3\n").ends_with("disk-image-create ended with exit status: 3"));
        let halves = "printf x >$DIB_IMAGE_FILENAME.qcow2-new; mkdir $DIB_IMAGE_FILENAME.d; printf x >$DIB_IMAGE_FILENAME.d/x\n";
        let log = "log=$8; { echo cause; echo ' + img-functions:main:1 :   trap_cleanup'; echo cleaned; } >$log; exit 1\n";
        let said = why(&format!("{halves}{log}"));
        assert!(said.ends_with("disk-image-create ended with exit status: 1, after these lines:\n  cause"), "{said}");
        assert!(why("").ends_with("ci-base-1795910400.qcow2 is not there"));
        fs::remove_file(&scene.program).expect("the program");
        let why = scene.refused(recipe, scene.making(&out));
        assert_eq!(why, format!("{} is not on this machine", scene.program.display()));
    }

    #[test]
    fn what_the_programs_shell_would_break_at_its_end_is_refused_at_its_beginning() {
        let scene = Scene::new();
        scene.does("printf x >\"$DIB_IMAGE_FILENAME.squash\"\n");
        let (recipe, out) = (scene.recipe(), scene.out());
        let whole = scene.making(&out);
        let blank = out.join("a b");
        fs::create_dir(&blank).expect("a directory");
        let none = out.join("none");
        let cases = [
            (Making { directory: &blank, ..whole }, "takes no path with a blank"),
            (Making { directory: &none, ..whole }, "there is no such directory"),
            (Making { elements: Some(Path::new("/a:b")), ..whole }, "takes no path with a blank or one of `*` `?` `[` `:`"),
            (Making { kind: "qcow2,raw", ..whole }, "--type qcow2,raw: it is one of qcow2, raw, vmdk"),
        ];
        for (making, words) in cases {
            let why = scene.refused(recipe, making);
            assert!(why.contains(words), "{words}: {why}");
        }
        let named = Recipe { name: "debian 12/base", ..recipe };
        let file = make(named, Making { kind: "squashfs", ..whole }).expect("a file");
        assert_eq!(file, out.join("debian_12_base-1795910400.squash"));
    }
}
