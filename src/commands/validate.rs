//! `poolkeeper validate`: the files alone, no network. What is a fault is decided in `desired`.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;

use crate::desired::Desired;
use crate::desired::faults::{count_of, render};
use crate::exit;
use crate::load::{LoadEnv, LoadError, load};

/// Says on `out` whether the desired state is valid. Gives the exit code: `DONE`, also with warnings, or `BAD_DESIRED_STATE`.
pub fn validate(dir: &Path, env: &LoadEnv, out: &mut dyn Write) -> anyhow::Result<u8> {
    let (text, code) = match load(dir, env) {
        Ok(loaded) => {
            let warnings = if loaded.warnings.is_empty() {
                String::new()
            } else {
                render(&dir.display().to_string(), &loaded.warnings, false)
            };
            (format!("{warnings}{}\n", valid(&loaded.desired)), exit::DONE)
        }
        Err(LoadError::Faults { dir, faults }) => (render(&dir, &faults, false), exit::BAD_DESIRED_STATE),
        Err(error @ LoadError::Io { .. }) => return Err(error.into()),
    };
    out.write_all(text.as_bytes()).context("cannot write the result")?;
    Ok(code)
}

/// `contint: valid (1 provider, 1 target, 2 pools)`; images are named when there are some.
fn valid(desired: &Desired) -> String {
    let Desired { controller, images, pools, revision: _ } = desired;
    let mut counts = vec![
        count_of(controller.providers.len(), "provider"),
        count_of(controller.targets.len(), "target"),
        count_of(pools.len(), "pool"),
    ];
    if !images.is_empty() {
        counts.push(count_of(images.len(), "image"));
    }
    format!("{}: valid ({})", controller.id, counts.join(", "))
}
