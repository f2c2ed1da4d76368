//! `image build`: diskimage-builder makes a file as nodepool had it made, and the file is published.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::publish::publish;
use super::{At, Undone, image_named, size};
use crate::cli::{BuildArgs, UploadArgs};
use crate::desired::ScriptDir;
use crate::exit::{self, Usage};
use crate::names::is_uuid;
use crate::settings::now;

/// diskimage-builder's own program, wherever PATH has it.
const PROGRAM: &str = "disk-image-create";

pub fn build(args: &BuildArgs, desired_state: &Path, at: At<'_>, out: &mut dyn io::Write) -> anyhow::Result<u8> {
    let image = image_named(at.desired, &args.name)?;
    let Some(disk) = &image.diskimage else {
        bail!(Usage(format!("images/{}.yaml has no `diskimage`: nothing says what to make its base image from", image.name)));
    };
    let name = &image.base_image;
    if is_uuid(name) {
        bail!(Usage(format!("images/{}.yaml has an id for its `base-image`: give it a name to publish by", image.name)));
    }
    let elements = desired_state.join("elements");
    let recipe =
        Recipe { name, elements: &disk.elements, release: disk.release.as_deref(), env: &disk.env, scripts: &image.scripts };
    let making = Making {
        program: Path::new(PROGRAM),
        kind: &args.kind,
        directory: &args.directory,
        elements: elements.is_dir().then_some(elements.as_path()),
        now: now(),
    };
    let file = make(recipe, making)?;
    let length = file.metadata().with_context(|| format!("reading {}", file.display()))?.len();
    writeln!(out, "built     {}: {}", file.display(), size(length))?;
    if args.no_publish {
        return Ok(exit::DONE);
    }
    let providers = image.providers.iter().map(ToString::to_string);
    let providers: Vec<String> = args.upload.provider.clone().map_or_else(|| providers.collect(), |named| vec![named]);
    for provider in providers {
        let upload = UploadArgs { provider: Some(provider), ..args.upload.clone() };
        publish(&file, name, &upload, at, out)?;
    }
    Ok(exit::DONE)
}

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
    pub now: Timestamp,
}

/// The file that was made. What the program says goes to standard error as it comes.
pub fn make(recipe: Recipe<'_>, making: Making<'_>) -> anyhow::Result<PathBuf> {
    let scripts = Scripts::write(recipe.scripts)?;
    let stem = making.directory.join(format!("{}-{}", recipe.name, making.now.as_second()));
    let mut command = command(recipe, making, &stem, &scripts.0);
    tracing::info!(?command, "building");
    let status = match command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr())).status() {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let said = format!("{} is not on this machine", making.program.display());
            return Err(Undone::new(
                said,
                "install diskimage-builder and qemu-img here, or build elsewhere and publish the file",
            )
            .into());
        }
        Err(error) => return Err(error).with_context(|| format!("starting {}", making.program.display())),
    };
    if !status.success() {
        let said = format!("{} ended with {status}", making.program.display());
        return Err(Undone::new(said, "its last lines above say why").into());
    }
    let file = PathBuf::from(format!("{}.{}", stem.display(), making.kind));
    if !file.is_file() {
        let said = format!("{} ended well, but {} is not there", making.program.display(), file.display());
        return Err(Undone::new(said, "does it know this kind of file?").into());
    }
    Ok(file)
}

/// As nodepool 0.1 to 0.3 called it: our own environment, then nodepool's variables, then the recipe's.
fn command(recipe: Recipe<'_>, making: Making<'_>, stem: &Path, scripts: &Path) -> Command {
    let mut command = Command::new(making.program);
    command.args(["-x", "-t", making.kind, "--no-tmpfs"]);
    if making.kind == "qcow2" {
        // For the qemu of old clouds.
        command.args(["--qemu-img-options", "compat=0.10"]);
    }
    command.arg("-o").arg(stem).args(recipe.elements);
    command.env("DIB_RELEASE", recipe.release.unwrap_or_default());
    command.env("DIB_IMAGE_NAME", recipe.name).env("DIB_IMAGE_FILENAME", stem).env("NODEPOOL_SCRIPTDIR", scripts);
    if let Some(elements) = making.elements {
        command.env("ELEMENTS_PATH", elements);
    }
    command.envs(recipe.env);
    command
}

/// The scripts of the desired state in a directory of this call alone, gone at its end.
struct Scripts(PathBuf);

impl Scripts {
    fn write(scripts: &ScriptDir) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("poolkeeper-scripts-{}", std::process::id()));
        // An existing one is somebody else's: an error.
        fs::DirBuilder::new().mode(0o755).create(&path).with_context(|| format!("making {}", path.display()))?;
        let made = Self(path);
        for (name, content) in &scripts.files {
            let path = made.0.join(name);
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path);
            let written = file.and_then(|mut file| file.write_all(content));
            written.with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(made)
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary directory.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A program in place of diskimage-builder's: it writes down how it was called.
    fn making<'a>(directory: &'a Path, program: &'a Path, text: &str) -> Making<'a> {
        fs::write(program, text).expect("a file");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("a mode");
        let now = "2026-11-29T00:00:00Z".parse().expect("a time");
        Making { program, kind: "qcow2", directory, elements: Some(Path::new("/elements")), now }
    }

    const RECORDS: &str = "#!/bin/sh
{
    printf '%s\\n' \"$@\"
    echo \"$DIB_RELEASE|$DIB_IMAGE_NAME|$DIB_IMAGE_FILENAME|$ELEMENTS_PATH|$DIB_X\"
    cat \"$NODEPOOL_SCRIPTDIR/setup.sh\"
} >\"$DIB_IMAGE_FILENAME.qcow2\"
";

    #[test]
    fn a_file_is_made_as_nodepool_had_it_made() {
        let (dir, elements) = (tempfile::tempdir().expect("a directory"), ["debian".to_owned(), "vm".to_owned()]);
        let scripts = ScriptDir { files: BTreeMap::from([("setup.sh".to_owned(), b"echo set up\n".to_vec())]) };
        let env = BTreeMap::from([("DIB_X".to_owned(), "1 2".to_owned()), ("ELEMENTS_PATH".to_owned(), "/own".to_owned())]);
        let recipe = Recipe { name: "ci-base", elements: &elements, release: Some("bookworm"), env: &env, scripts: &scripts };
        let program = dir.path().join("disk-image-create");
        let whole = making(dir.path(), &program, RECORDS);
        let file = make(recipe, whole).expect("a file");
        let stem = dir.path().join("ci-base-1795910400").display().to_string();
        assert_eq!(file.display().to_string(), format!("{stem}.qcow2"));
        let words = format!("-x\n-t\nqcow2\n--no-tmpfs\n--qemu-img-options\ncompat=0.10\n-o\n{stem}\ndebian\nvm\n");
        let said = fs::read_to_string(&file).expect("text");
        assert_eq!(said, format!("{words}bookworm|ci-base|{stem}|/own|1 2\necho set up\n"));

        let why = |text: &str| make(recipe, making(dir.path(), &program, text)).expect_err("a no").to_string();
        assert!(why("#!/bin/sh\nexit 3\n").ends_with("ended with exit status: 3"));
        fs::remove_file(&file).expect("the file");
        assert!(why("#!/bin/sh\n").contains("is not there"));
        let nowhere = Making { program: Path::new("/nowhere/disk-image-create"), ..whole };
        assert_eq!(make(recipe, nowhere).expect_err("a no").to_string(), "/nowhere/disk-image-create is not on this machine");
    }
}
