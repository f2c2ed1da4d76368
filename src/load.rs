//! The desired-state directory to values: reads files, and the scripts and keys that they name. What a text means is `desired`'s.

pub mod files;
pub mod git;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::desired::check::{self, Files};
use crate::desired::document::{Document, Go};
use crate::desired::faults::{self, Fault, Severity};
use crate::desired::near;
use crate::desired::parse::{self, Parsed};
use crate::desired::{Controller, Desired, Pool, PoolImage, ScriptDir, SnapshotImage, TargetSecret, UserData};
use crate::names::{ImageName, PoolName};

use files::{Listing, Scripts};

/// Stands where the directory of systemd's credentials would, when there is none.
pub const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

/// What loading takes from its surroundings.
#[derive(Debug, Clone, Default)]
pub struct LoadEnv {
    /// `$CREDENTIALS_DIRECTORY` of systemd: where a `token-file` without a slash is looked for.
    pub credentials_dir: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Loaded {
    pub desired: Desired,
    pub warnings: Vec<Fault>,
}

/// Why there is no desired state.
#[derive(Debug)]
pub enum LoadError {
    /// Errors and warnings, in the order in which they are shown. The directory is as it was given.
    Faults { dir: String, faults: Vec<Fault> },
    /// The directory cannot be read.
    Io { path: PathBuf, error: io::Error },
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults { dir, faults } => out.write_str(faults::render(dir, faults, false).trim_end()),
            Self::Io { path, .. } => write!(out, "cannot read the desired state in {}", path.display()),
        }
    }
}

impl LoadError {
    /// What a person can do now; the faults of files carry their own.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Faults { .. } => None,
            Self::Io { .. } => {
                Some("name the directory that has controller.yaml: --desired-state DIR, or POOLKEEPER_DESIRED_STATE")
            }
        }
    }
}

impl LoadError {
    /// What was named is no directory; one that is there and cannot be read is this machine's matter.
    pub fn is_usage(&self) -> bool {
        use io::ErrorKind::{NotADirectory, NotFound};
        matches!(self, Self::Io { error, .. } if matches!(error.kind(), NotFound | NotADirectory))
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Faults { .. } => None,
            Self::Io { error, .. } => Some(error),
        }
    }
}

/// Reads, checks and completes the desired state of a directory. All faults of all files come at once.
pub fn load(dir: &Path, env: &LoadEnv) -> Result<Loaded, LoadError> {
    let unreadable = |error| LoadError::Io { path: dir.to_owned(), error };
    let refused = |faults| LoadError::Faults { dir: dir.display().to_string(), faults };
    let git = git::find(dir);
    let busy = || git.as_ref().and_then(|git| git.busy(dir));
    if let Some(fault) = busy() {
        return Err(refused(vec![fault]));
    }
    let listing = files::list(dir).map_err(unreadable)?;
    let (state, mut faults) = read(dir, env, listing);
    // A checkout may have begun while files were read: then they are of two commits.
    if let Some(fault) = busy() {
        return Err(refused(vec![fault]));
    }
    faults::sort(&mut faults);
    match state {
        Some(desired) if faults.iter().all(|fault| fault.severity == Severity::Warning) => {
            let revision = git.and_then(|git| git.revision());
            Ok(Loaded { desired: Desired { revision, ..desired }, warnings: faults })
        }
        Some(_) | None => Err(refused(faults)),
    }
}

fn read(dir: &Path, env: &LoadEnv, listing: Listing) -> (Option<Desired>, Vec<Fault>) {
    let mut faults = listing.faults;
    let mut of = |text: Result<String, Box<Fault>>| text.map_err(|fault| faults.push(*fault)).ok();
    let controller = listing.controller.map(|path| {
        let name = path.display().to_string();
        of(files::text(&path)).map_or_else(not_read, |text| parse::controller::parse(&name, &text))
    });
    let mut state = Files { controller, images: BTreeMap::new(), pools: BTreeMap::new() };
    for (name, path) in &listing.images {
        let file = path.display().to_string();
        let parsed = of(files::text(path)).map_or_else(not_read, |text| parse::image::parse(&file, name, &text));
        state.images.insert(name.clone(), parsed);
    }
    for (name, path) in &listing.pools {
        let file = path.display().to_string();
        let parsed = of(files::text(path)).map_or_else(not_read, |text| parse::pool::parse(&file, name, &text));
        state.pools.insert(name.clone(), parsed);
    }
    let mut outside = Outside { dir, env, faults, scripts: Scripts::default(), warned: BTreeSet::new() };
    outside.strays(&listing.strays, &listing.folders, &state);
    if state.controller.is_none() {
        outside.faults.push(Fault::of_file(dir.join("controller.yaml").display().to_string(), "the file is missing"));
    }
    if state.pools.is_empty() {
        let fault = Fault::of_file(dir.join("pools").display().to_string(), "there is no pool");
        outside.faults.push(fault.hint("a pool is a file `pools/NAME.yaml`; to drain one, set its `min-ready: 0`"));
    }
    if let Some(Parsed { doc: Some(doc), value, .. }) = &mut state.controller {
        outside.complete_controller(doc, value.as_mut());
    }
    for image in state.images.values_mut() {
        outside.complete_image(image);
    }
    let images: BTreeMap<String, Arc<ScriptDir>> = state
        .images
        .iter()
        .filter_map(|(name, image)| Some((name.clone(), Arc::clone(&image.value.as_ref()?.scripts))))
        .collect();
    for pool in state.pools.values_mut() {
        outside.complete_pool(pool, &images);
    }
    let mut faults = outside.faults;
    faults.extend(check::check(&state));
    finish(state, faults)
}

/// Of a file that could not be read: the fault is noted elsewhere.
fn not_read<T>() -> Parsed<T> {
    Parsed { doc: None, value: None, faults: Vec::new() }
}

/// The values, when every file has its own, and all faults.
fn finish(state: Files, mut faults: Vec<Fault>) -> (Option<Desired>, Vec<Fault>) {
    let mut take = |parsed: &mut Vec<Fault>| faults.append(parsed);
    let controller = state.controller.and_then(|mut parsed| {
        take(&mut parsed.faults);
        parsed.value
    });
    // All faults are taken before any file is missed.
    let images: Vec<_> = state
        .images
        .into_iter()
        .map(|(name, mut parsed)| {
            take(&mut parsed.faults);
            Some((ImageName::new(name), parsed.value?))
        })
        .collect();
    let pools: Vec<_> = state
        .pools
        .into_iter()
        .map(|(name, mut parsed)| {
            take(&mut parsed.faults);
            Some((PoolName::new(name), parsed.value?))
        })
        .collect();
    let images: Option<BTreeMap<ImageName, SnapshotImage>> = images.into_iter().collect();
    let pools: Option<BTreeMap<PoolName, Pool>> = pools.into_iter().collect();
    let desired = controller.zip(images).zip(pools);
    (desired.map(|((controller, images), pools)| Desired { controller, images, pools, revision: None }), faults)
}

/// A secret's file that is not one.
fn open_to_all(doc: &Document, at: &[Go<'_>], written: &Path) -> Fault {
    let fault = doc.fault_at(at, format!("every user of this machine can read `{}`", written.display()));
    fault.warning().hint("take that from them: `chmod o-rwx`")
}

/// Completes values by what stands outside of the YAML.
struct Outside<'l> {
    dir: &'l Path,
    env: &'l LoadEnv,
    faults: Vec<Fault>,
    scripts: Scripts,
    /// Keys that were warned of: twelve pools with one key bring one warning.
    warned: BTreeSet<PathBuf>,
}

impl Outside<'_> {
    /// Files that are no object and that nothing names, and folders of objects under a name that is not looked at.
    fn strays(&mut self, strays: &[PathBuf], folders: &[String], state: &Files) {
        let user_data = state.pools.values().filter_map(|pool| pool.doc.as_ref()?.text_of("user-data"));
        let named: BTreeSet<PathBuf> = user_data.map(|path| self.dir.join(path)).collect();
        for path in strays.iter().filter(|path| !named.contains(*path)) {
            self.faults.push(files::stray(path));
        }
        for folder in folders {
            if let Some(near) = near(folder, ["images", "pools"]).filter(|_| files::holds_yaml(&self.dir.join(folder))) {
                let fault = Fault::of_file(
                    self.dir.join(folder).display().to_string(),
                    format!("nothing reads the directory `{folder}`"),
                );
                self.faults.push(fault.hint(format!("did you mean `{near}`?")));
            }
        }
    }

    fn complete_controller(&mut self, doc: &Document, controller: Option<&mut Controller>) {
        let Some(controller) = controller else { return };
        controller.lock_file = self.dir.join(&controller.lock_file);
        for target in controller.targets.values_mut() {
            let (key, path) = match &mut target.secret {
                TargetSecret::TokenFile(path) => ("token-file", path),
                TargetSecret::PasswordFile(path) => ("password-file", path),
            };
            let written = std::mem::take(path);
            *path = self.secret(&written);
            if files::others_can_read(path) {
                let at = [Go::To("targets"), Go::To(target.name.as_str()), Go::To(key)];
                self.faults.push(open_to_all(doc, &at, &written));
            }
        }
    }

    /// A name without a slash is one of systemd's credentials. Outside of a unit there are none: the path then says what is
    /// missing, and whoever reads the secret will show it.
    fn secret(&self, path: &Path) -> PathBuf {
        if path.is_absolute() || path.components().count() > 1 {
            return self.dir.join(path);
        }
        self.env.credentials_dir.as_deref().unwrap_or(Path::new(CREDENTIALS)).join(path)
    }

    fn private_key(&mut self, doc: &Document, path: &mut PathBuf) {
        let written = std::mem::take(path);
        *path = self.dir.join(&written);
        if files::others_can_read(path) && self.warned.insert(path.clone()) {
            self.faults.push(open_to_all(doc, &[Go::To("private-key")], &written));
        }
    }

    /// The scripts that a file names, and the fault when there are none to be read.
    fn script_dir(&mut self, doc: &Document, path: &str) -> Option<Arc<ScriptDir>> {
        match self.scripts.read(&self.dir.join(path)) {
            Ok(scripts) => Some(scripts),
            Err(why) => {
                self.faults.push(doc.fault_at(&[Go::To("script-dir")], format!("`script-dir: {path}`: {why}")));
                None
            }
        }
    }

    fn script(&mut self, doc: &Document, key: &str, dir: &str, scripts: &ScriptDir) {
        let Some(name) = doc.text_of(key).filter(|name| !name.contains('/') && !scripts.files.contains_key(*name)) else {
            return;
        };
        let fault = doc.fault_at(&[Go::To(key)], format!("{dir} has no file `{name}`"));
        self.faults.push(match near(name, scripts.files.keys().map(String::as_str)) {
            Some(near) => fault.label(format!("did you mean `{near}`?")),
            None => fault,
        });
    }

    fn complete_image(&mut self, image: &mut Parsed<SnapshotImage>) {
        let Some(doc) = &image.doc else { return };
        let path = doc.text_of("script-dir").unwrap_or("scripts");
        if let Some(scripts) = self.script_dir(doc, path) {
            self.script(doc, "setup-script", &format!("`{path}`"), &scripts);
            if let Some(image) = &mut image.value {
                image.scripts = scripts;
            }
        }
        if let Some(value) = &mut image.value {
            self.private_key(doc, &mut value.private_key);
        }
    }

    fn complete_pool(&mut self, pool: &mut Parsed<Pool>, images: &BTreeMap<String, Arc<ScriptDir>>) {
        let Some(doc) = &pool.doc else { return };
        let scripts = match doc.text_of("script-dir") {
            Some(path) => self.script_dir(doc, path).map(|scripts| (format!("`{path}`"), scripts)),
            None => match pool.value.as_ref().map(|pool| &pool.image) {
                Some(PoolImage::Snapshot(image)) => images
                    .get(image.as_str())
                    .map(|scripts| (format!("the image's `script-dir` of {image}"), Arc::clone(scripts))),
                Some(PoolImage::Glance(_)) | None => None,
            },
        };
        if let Some((dir, scripts)) = &scripts {
            self.script(doc, "ready-script", dir, scripts);
        } else if doc.text_of("script-dir").is_none() && doc.text_of("ready-script").is_some() {
            let fault = doc.fault_at(&[Go::To("ready-script")], "`ready-script` without a `script-dir`");
            self.faults.push(fault.hint("name the directory that it is in: `script-dir: scripts`"));
        }
        let user_data = doc.text_of("user-data").and_then(|path| match files::user_data(&self.dir.join(path)) {
            Ok(text) => Some(text),
            Err(why) => {
                self.faults.push(doc.fault_at(&[Go::To("user-data")], format!("`user-data: {path}`: {why}")));
                None
            }
        });
        if let Some(value) = &mut pool.value {
            value.scripts = scripts.map(|(_, scripts)| scripts);
            value.user_data = user_data.map(UserData::new);
            self.private_key(doc, &mut value.private_key);
        }
    }
}
