//! The git work tree around the desired state: is a checkout under way, and which commit is it. Reads files; git is not called.

use std::fs;
use std::path::{Path, PathBuf};

use crate::desired::faults::Fault;

/// Characters of a commit that a plan's head shows, as git itself does.
const SHORT: usize = 7;
/// A symbolic ref leads to a ref; more steps than this are a loop.
const MAX_REFS: usize = 5;

/// A work tree's own git directory, and the one that holds the refs: they differ in a linked work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Git {
    own: PathBuf,
    common: PathBuf,
}

/// The work tree that a directory is in, if any.
pub fn find(dir: &Path) -> Option<Git> {
    let dir = fs::canonicalize(dir).ok()?;
    let (tree, dot_git) = dir.ancestors().map(|tree| (tree, tree.join(".git"))).find(|(_, dot_git)| dot_git.exists())?;
    let own = if dot_git.is_dir() {
        dot_git
    } else {
        let text = fs::read_to_string(&dot_git).ok()?;
        tree.join(text.trim().strip_prefix("gitdir:")?.trim())
    };
    let common = fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |text| own.join(text.trim()));
    own.join("HEAD").exists().then_some(Git { own, common })
}

impl Git {
    /// A fault when git is changing the work tree at this moment.
    pub fn busy(&self, dir: &Path) -> Option<Fault> {
        let lock = self.own.join("index.lock");
        if !lock.exists() {
            return None;
        }
        let fault = Fault::of_file(dir.display().to_string(), "git is changing this work tree: its files may be of two commits");
        Some(fault.hint(format!("try again; when no git runs, a crashed one left {}: remove it", lock.display())))
    }

    /// The commit of HEAD, shortened.
    pub fn revision(&self) -> Option<String> {
        let mut name = fs::read_to_string(self.own.join("HEAD")).ok()?;
        for _ in 0..MAX_REFS {
            match name.trim().strip_prefix("ref:") {
                None => return commit(name.trim()),
                Some(reference) => name = self.reference(reference.trim())?,
            }
        }
        None
    }

    /// What a ref holds: in a file of its own, or packed with others.
    fn reference(&self, name: &str) -> Option<String> {
        if name.split('/').any(|part| part.is_empty() || part == "..") {
            return None;
        }
        let loose = [&self.own, &self.common].into_iter().find_map(|dir| fs::read_to_string(dir.join(name)).ok());
        loose.or_else(|| {
            let packed = fs::read_to_string(self.common.join("packed-refs")).ok()?;
            packed
                .lines()
                .find_map(|line| line.split_once(' ').filter(|(_, packed)| *packed == name).map(|(commit, _)| commit.to_owned()))
        })
    }
}

fn commit(text: &str) -> Option<String> {
    let hex = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.get(..SHORT).filter(|_| hex).map(str::to_owned)
}
