//! `image build` with diskimage-builder's real disk-image-create, published to the served sandbox. Started by `make e2e`, as
//! root; a plain `cargo test` runs none of it and counts nothing. Where this machine cannot mount or has no loop devices, it
//! says so and holds the program's own trace of its command line and environment against what was meant.
#![expect(clippy::print_stdout, reason = "no test harness: the report is this program's output")]
#![expect(clippy::expect_used, reason = "a helper that sets the scene fails by panicking, as it does in the tests")]
#![expect(clippy::indexing_slicing, reason = "of what the scene itself was made with")]

#[path = "../it/audited.rs"]
mod audited;
mod scene;
#[path = "../it/served.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod served;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use scene::{BASE, Run, Scene};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("--run") {
        println!("diskimage: nothing run: it needs root and diskimage-builder, see `make e2e`");
        return ExitCode::SUCCESS;
    }
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    let version = output(Command::new("disk-image-create").arg("--version"))?;
    println!("disk-image-create {}", version.trim());
    let missing = missing()?;
    let scene = Scene::new();
    if missing.is_empty() {
        published(&scene, "qcow2")?;
        published(&scene, "raw")?;
        failed(&scene)?;
    } else {
        println!("\n!!! NO IMAGE IS MADE HERE: this machine lacks what diskimage-builder needs for that:");
        for what in &missing {
            println!("!!!   {what}");
        }
        println!("!!! Only what the real program was called with is looked at, in its own words.\n");
        called(&scene)?;
    }
    Ok(())
}

/// What a command printed, or what it said of its failure.
fn output(command: &mut Command) -> Result<String> {
    let said = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !said.status.success() {
        bail!("{command:?}: {}: {}", said.status, String::from_utf8_lossy(&said.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// What diskimage-builder does on every machine and this one refuses, in the refusal's own words.
fn missing() -> Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    let (mount, file) = (scratch.path().join("mount"), scratch.path().join("file"));
    fs::create_dir(&mount)?;
    fs::File::create(&file)?.set_len(1 << 20)?;
    let mut missing = Vec::new();
    let mut needs = |command: &mut Command| match output(command) {
        Ok(said) => Some(said.trim().to_owned()),
        Err(error) => {
            missing.push(format!("{error:#}"));
            None
        }
    };
    for kind in ["tmpfs", "proc"] {
        if needs(Command::new("mount").args(["-t", kind, "none"]).arg(&mount)).is_some() {
            needs(Command::new("umount").arg(&mount));
        }
    }
    needs(Command::new("chroot").args(["/", "true"]));
    if let Some(device) = needs(Command::new("losetup").args(["--find", "--show"]).arg(&file)) {
        needs(Command::new("losetup").args(["--detach", &device]));
    }
    Ok(missing)
}

/// An image is made, and is in Glance what it is on disk; everything reached the hooks.
fn published(scene: &Scene, kind: &str) -> Result<()> {
    let Run { code, out, talk } = scene.build("good", &["--type", kind])?;
    ensure!(code == Some(0), "ended with {code:?}:\n{talk}\n{out}");
    let file = scene.file(&out, kind)?;
    as_meant(scene, kind, &file)?;
    println!("{kind}: the real program got the command line and the environment that nodepool gave it");

    let info: serde_json::Value =
        serde_json::from_str(&output(Command::new("qemu-img").args(["info", "--output", "json"]).arg(&file))?)?;
    ensure!(info["format"] == kind, "{info}");
    if kind == "qcow2" {
        ensure!(info["format-specific"]["data"]["compat"] == "0.10", "for old clouds: {info}");
    }
    let inside = |path: &str| scene.read(&file, path);
    ensure!(inside("/etc/e2e-seen")? == "e2e-release|e2e base|one  two $HOME\n", "in the chroot: {}", inside("/etc/e2e-seen")?);
    ensure!(inside("/root/ready.sh")? == "#!/bin/sh\nexit 0\n", "a script: {}", inside("/root/ready.sh")?);
    println!("{kind}: a file system with what its hooks wrote from the environment, and a script of the image");

    let image = scene.image(BASE).context("the image is not in Glance")?;
    let sum = output(Command::new("sha256sum").arg(&file))?;
    let size = fs::metadata(&file)?.len();
    ensure!(sum.starts_with(&image.sha256), "{sum} is not {}", image.sha256);
    ensure!((image.format.as_deref(), image.size, image.status.as_str()) == (Some(kind), size, "active"), "{image:?}");
    ensure!(out.contains(&format!("published {BASE}: image {}\n", image.id)), "{out}");
    println!("{kind}: in Glance it is this file: {size} bytes, sha256 {}", image.sha256);
    nothing_left(scene, &[&file])
}

/// An element that fails in the chroot, when all is mounted.
fn failed(scene: &Scene) -> Result<()> {
    let before = scene.images();
    let Run { code, out, talk } = scene.build("bad", &[])?;
    ensure!(code == Some(5) && out.is_empty(), "ended with {code:?}: {out}");
    let (above, error) = talk.rsplit_once("\nerror: ").context("no error")?;
    ensure!(above.contains("e2e-fails: no such package"), "what the program says comes as it is:\n{talk}");
    ensure!(error.starts_with("disk-image-create ended with exit status: 7, after these lines:\n  "), "{error}");
    let lines: Vec<&str> = error.lines().collect();
    ensure!(lines.iter().any(|line| line.ends_with("e2e-fails: no such package")), "its cause is not among them:\n{error}");
    ensure!(lines.iter().all(|line| !line.contains("Unmount")), "its cleaning up is among them:\n{error}");
    ensure!(lines.last().is_some_and(|line| line.starts_with("  hint: ")), "{error}");
    ensure!(scene.images() == before, "Glance has changed: {:?}", scene.images());
    println!("an element that fails: exit 5, its own words in the error, nothing in Glance");
    nothing_left(scene, &[])
}

/// Where no image can be made: the real program's own words for what it was given, from a hook that runs before any mount.
fn called(scene: &Scene) -> Result<()> {
    let Run { code, out, talk } = scene.build("good", &[])?;
    ensure!(code == Some(5) && out.is_empty(), "ended with {code:?}: {out}\n{talk}");
    ensure!(talk.contains("\nerror: disk-image-create ended with "), "{talk}");
    let seen = scene.seen()?;
    let file = seen.iter().find_map(|line| line.strip_prefix("DIB_IMAGE_FILENAME=")).context("no file's name")?;
    as_meant(scene, "qcow2", Path::new(&format!("{file}.qcow2")))?;
    println!("qcow2: the real program got the command line and the environment that nodepool gave it");
    ensure!(scene.image(BASE).is_none(), "Glance has changed: {:?}", scene.images());
    nothing_left(scene, &[])
}

/// What the program was called with, by what it handed to its hooks.
fn as_meant(scene: &Scene, kind: &str, file: &Path) -> Result<()> {
    let seen = scene.seen()?;
    let value = |name: &str| -> Result<&str> {
        seen.iter().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in {seen:?}"))
    };
    let stem = file.with_extension("");
    let stem = stem.to_str().context("a path")?;
    ensure!(stem.starts_with(&format!("{}/e2e_base-", scene.out().display())), "{stem}");
    let args = value("ARGS=")?;
    let options = if kind == "qcow2" { "--qemu-img-options compat=0.10 " } else { "" };
    ensure!(args.starts_with(&format!("-x -t {kind} --no-tmpfs {options}--logfile ")), "{args}");
    ensure!(args.ends_with(&format!(" -o {stem} e2e-tiny e2e-seen")), "{args}");
    // `base` is left out by the recipe's SKIP_BASE; the order beyond that is the program's own.
    let mut elements: Vec<&str> = value("ELEMENTS=")?.split_whitespace().collect();
    elements.sort_unstable();
    ensure!(elements == ["e2e-seen", "e2e-tiny"], "{elements:?}");
    ensure!(value("DIB_RELEASE=")? == "e2e-release" && value("DIB_IMAGE_NAME=")? == BASE, "{seen:?}");
    ensure!(value("DIB_IMAGE_FILENAME=")? == stem && value("E2E_WORDS=")? == "one  two $HOME", "{seen:?}");
    let own = scene.elements();
    ensure!(value("ELEMENTS_PATH=")?.starts_with(&format!("{}:", own.display())), "before its own: {seen:?}");
    Ok(())
}

/// No file but these, no temporary one, no mount, no loop device.
fn nothing_left(scene: &Scene, files: &[&Path]) -> Result<()> {
    let mut out = scene::entries(&scene.out())?;
    out.retain(|path| !files.contains(&path.as_path()));
    ensure!(out.is_empty(), "left beside the image: {out:?}");
    let temporary = scene::entries(&scene.temporary())?;
    ensure!(temporary.is_empty(), "left in the temporary directory: {temporary:?}");
    let root = scene.root().display().to_string();
    let ours = |text: &str| text.lines().filter(|line| line.contains(&root)).map(str::to_owned).collect::<Vec<_>>();
    let mounts = ours(&fs::read_to_string("/proc/self/mounts")?);
    ensure!(mounts.is_empty(), "left mounted: {mounts:?}");
    let loops = ours(&output(Command::new("losetup").arg("--all"))?);
    ensure!(loops.is_empty(), "left loop devices: {loops:?}");
    for file in files {
        fs::remove_file(file)?;
    }
    println!("nothing else is left: no file, no temporary one, no mount, no loop device");
    Ok(())
}
