//! `image build`: diskimage-builder makes a file as nodepool had it made, and the file is published.

use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::diskimage::{Making, Recipe, make};
use super::publish::publish;
use super::{At, Undone, image_named, lock_opens, provider, size};
use crate::cli::{BuildArgs, UploadArgs};
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
    let providers = image.providers.iter().map(ToString::to_string);
    let providers: Vec<String> = args.upload.provider.clone().map_or_else(|| providers.collect(), |named| vec![named]);
    if !args.no_publish {
        can_publish(&providers, at)?;
    }
    let elements = desired_state.join("elements");
    let recipe =
        Recipe { name, elements: &disk.elements, release: disk.release.as_deref(), env: &disk.env, scripts: &image.scripts };
    let making = Making {
        program: Path::new(PROGRAM),
        kind: &args.kind,
        directory: &args.directory,
        elements: elements.is_dir().then_some(elements.as_path()),
        temporary: &std::env::temp_dir(),
        now: now(),
    };
    let file = make(recipe, making)?;
    let length = file.metadata().with_context(|| format!("reading {}", file.display()))?.len();
    writeln!(out, "built     {}: {}", file.display(), size(length))?;
    if args.no_publish {
        return Ok(exit::DONE);
    }
    for provider in providers {
        let upload = UploadArgs { provider: Some(provider), ..args.upload.clone() };
        publish(&file, name, &upload, at, out)?;
    }
    Ok(exit::DONE)
}

/// What is known of it before an hour of building.
fn can_publish(providers: &[String], at: At<'_>) -> anyhow::Result<()> {
    for named in providers {
        at.live.cloud(&provider(at.desired, Some(named))?).map_err(Undone::from)?;
    }
    Ok(lock_opens(at.desired)?)
}
