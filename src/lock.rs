//! One flock per deployment, so that two runs never act at one time. The kernel drops it with the process; the file stays.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Let go by name, not only by closing: a child process between its fork and its exec has the file open too.
    fn drop(&mut self) {
        drop(fs2::FileExt::unlock(&self.file));
    }
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another run holds it.
    Held(PathBuf),
    /// The file cannot be opened. There is no fallback: two runs with two files would not see each other.
    Open(PathBuf, io::Error),
}

impl std::fmt::Display for LockError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held(path) => write!(out, "another run holds the lock {}", path.display()),
            Self::Open(path, error) => write!(out, "the lock file {} cannot be opened: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl LockError {
    /// What a person can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Held(_) => "it is let go after each pass: wait a moment, or give --lock-timeout",
            Self::Open(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "run it as the user that the timer runs it as, or set `lock-file` in controller.yaml to a file of your own"
            }
            Self::Open(..) => "make its directory (the package's tmpfiles.d does), or set `lock-file` in controller.yaml",
        }
    }
}

/// Takes the lock now, or says why not. The file is made when it is missing, opened read-only where it cannot be written
/// (flock needs no more), and its content is never looked at.
pub fn try_lock(path: &Path) -> Result<Lock, LockError> {
    let writable = OpenOptions::new().create(true).append(true).open(path);
    let file = match writable {
        Ok(file) => file,
        Err(error) => File::open(path).map_err(|_| LockError::Open(path.to_owned(), error))?,
    };
    match fs2::FileExt::try_lock_exclusive(&file) {
        Ok(()) => Ok(Lock { file }),
        Err(error) if error.kind() == fs2::lock_contended_error().kind() => Err(LockError::Held(path.to_owned())),
        Err(error) => Err(LockError::Open(path.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("contint");
        let first = try_lock(&path).expect("free");
        assert!(matches!(try_lock(&path), Err(LockError::Held(held)) if held == path));
        drop(first);
        assert!(try_lock(&path).is_ok(), "let go with its holder");
        assert!(path.exists(), "the file is never deleted: a waiting process may have it open");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_a_refusal() {
        let missing = Path::new("/nonexistent/directory/contint");
        assert!(matches!(try_lock(missing), Err(LockError::Open(path, _)) if path == missing));
    }
}
