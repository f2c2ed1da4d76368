//! Names for what is made beside other people's files: taken only where nothing is there, gone with their holder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::group::CutOff;

/// Far more than one process makes of a name at one time.
const TRIES: u32 = 1000;

/// What it makes is `BEGIN-PID-NUMBER`, of the first number that nobody has: a killed process of the same pid may have left
/// some.
fn first_free<T>(begin: &Path, mut make: impl FnMut(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    for number in 0..TRIES {
        let path = with(begin, &format!("-{}-{number}", std::process::id()));
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{TRIES} names that begin with {} are taken", begin.display())))
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A file of ours, removed when it is dropped before it was renamed, or when a signal ends the process before that.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    pub file: File,
    renamed: bool,
    _cut_off: CutOff,
}

impl Part {
    /// Beside the file that it becomes, whose name it begins with.
    pub fn of(target: &Path) -> io::Result<Self> {
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let (path, file) = first_free(&with(target, ".part"), create)?;
        let left = path.clone();
        let cut_off = CutOff::start(move || drop(fs::remove_file(&left))).inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(Self { path, file, renamed: false, _cut_off: cut_off })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed is in nobody's way: no name is used twice.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A directory of ours alone, gone with all that is in it when it is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(parent: &Path, name: &str) -> io::Result<Self> {
        let (path, ()) = first_free(&parent.join(name), |path| DirBuilder::new().mode(0o700).create(path))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary directory.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_there_is_passed_over_and_never_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("image");
        let left = dir.path().join(format!("image.part-{}-0", std::process::id()));
        // As a killed call of this pid left it, and as somebody lays a trap.
        fs::write(&left, "theirs").expect("a file");
        let trap = dir.path().join(format!("image.part-{}-1", std::process::id()));
        std::os::unix::fs::symlink(dir.path().join("victim"), trap).expect("a link");
        let mut part = Part::of(&target).expect("a file");
        assert!(part.path().display().to_string().ends_with("-2"), "{}", part.path().display());
        part.file.write_all(b"ours").expect("written");
        let path = part.path().to_owned();
        part.rename(&target).expect("renamed");
        assert!(!path.exists() && fs::read(&target).expect("a file") == b"ours");
        assert!(fs::read(&left).expect("a file") == b"theirs" && !dir.path().join("victim").exists());
    }

    #[test]
    fn what_is_given_up_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let part = Part::of(&dir.path().join("image")).expect("a file");
        let scratch = Scratch::new(dir.path(), "scratch").expect("a directory");
        let second = Scratch::new(dir.path(), "scratch").expect("another");
        assert_ne!(scratch.path(), second.path());
        fs::write(scratch.path().join("log"), "").expect("a file");
        drop((part, scratch, second));
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
        let nowhere = Scratch::new(&dir.path().join("none"), "scratch");
        assert_eq!(nowhere.expect_err("no parent").kind(), io::ErrorKind::NotFound);
    }
}
