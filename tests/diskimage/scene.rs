//! A served cloud, a desired state with two images of tests/diskimage/elements, and the real binary on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use crate::output;
use crate::served::{Served, Shape};

const CLOUD: &str = "cloud-0";

/// In Glance. The blank is none in the file's name.
pub(crate) const BASE: &str = "e2e base";

pub(crate) struct Scene {
    served: Served,
    directory: tempfile::TempDir,
}

/// How a run ended, and what it said.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) talk: String,
}

/// An image as Glance has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    name: String,
    pub(crate) status: String,
    pub(crate) format: Option<String>,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let served = Served::new(Shape { providers: 1, targets: 1, pools: 1, min_ready: 1 });
        let directory = tempfile::tempdir().expect("a directory");
        let scene = Self { served, directory };
        for path in [scene.out(), scene.temporary(), scene.images_dir()] {
            fs::create_dir_all(path).expect("a directory");
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diskimage/elements");
        output(Command::new("cp").arg("-r").arg(source).arg(scene.elements())).expect("the elements");
        scene.image_of("good", "[e2e-tiny, e2e-seen]");
        scene.image_of("bad", "[e2e-tiny, e2e-seen, e2e-fails]");
        scene
    }

    fn image_of(&self, name: &str, elements: &str) {
        // A journal as small as the image; the default is one of 64 MiB.
        let text = format!(
            "providers: [{CLOUD}]
base-image: {BASE}
flavor: m1.small
setup-script: ready.sh
script-dir: scripts
private-key: '{}'
diskimage:
  elements: {elements}
  release: e2e-release
  env:
    SKIP_BASE: '1'
    DIB_JOURNAL_SIZE: '4'
    E2E_WORDS: 'one  two $HOME'
    E2E_SEEN: '{}'
",
            self.served.desired_state().join("../id_ed25519").display(),
            self.seen_file().display(),
        );
        fs::write(self.images_dir().join(format!("{name}.yaml")), text).expect("a file");
    }

    pub(crate) fn build(&self, name: &str, more: &[&str]) -> Result<Run> {
        if self.seen_file().exists() {
            fs::remove_file(self.seen_file())?;
        }
        let out = self.out().display().to_string();
        let mut command = self.served.poolkeeper(&[&["image", "build", name, "--directory", &out], more].concat());
        // Its temporary files where they are counted: it takes either variable.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TMPDIR", self.temporary()).env("TMP_DIR", self.temporary());
        let Output { status, stdout, stderr } = command.output().context("poolkeeper")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Run { code: status.code(), out: text(&stdout), talk: text(&stderr) })
    }

    /// The file that a run says it made.
    pub(crate) fn file(&self, out: &str, kind: &str) -> Result<PathBuf> {
        let line = out.lines().find_map(|line| line.strip_prefix("built     ")).with_context(|| out.to_owned())?;
        let (path, _) = line.split_once(": ").with_context(|| out.to_owned())?;
        ensure!(path.ends_with(&format!(".{kind}")) && Path::new(path).starts_with(self.out()), "{out}");
        Ok(PathBuf::from(path))
    }

    /// A file inside an image, whose one file system has no partition around it.
    pub(crate) fn read(&self, image: &Path, path: &str) -> Result<String> {
        let raw = self.root().join("raw");
        output(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(image).arg(&raw))?;
        let text = output(Command::new("debugfs").args(["-R", &format!("cat {path}")]).arg(&raw));
        fs::remove_file(&raw)?;
        text
    }

    /// What the program handed to its first hook.
    pub(crate) fn seen(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.seen_file()).context("what a hook saw")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    pub(crate) fn image(&self, name: &str) -> Option<Stored> {
        self.images().into_iter().find(|image| image.name == name)
    }

    pub(crate) fn images(&self) -> Vec<Stored> {
        self.served.world.with(|state| {
            let images = state.clouds[CLOUD].images.iter();
            let stored = images.map(|image| {
                let digests = image.data.as_ref().map(|data| data.digests.clone());
                let (size, sha256) = digests.map(|digests| (digests.size, digests.sha256)).unwrap_or_default();
                let (id, name, status) = (image.seen.id.to_string(), image.seen.name.clone(), image.seen.status.clone());
                Stored { id, name, status: status.as_str().to_owned(), format: image.disk_format.clone(), size, sha256 }
            });
            stored.collect()
        })
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root().join("out")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root().join("tmp")
    }

    pub(crate) fn elements(&self) -> PathBuf {
        self.served.desired_state().join("elements")
    }

    fn images_dir(&self) -> PathBuf {
        self.served.desired_state().join("images")
    }

    fn seen_file(&self) -> PathBuf {
        self.root().join("seen")
    }
}

pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?)
}
