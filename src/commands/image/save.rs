//! `image save`: an image's data into a file, whole and checked, or not at all.

use std::io::Write;

use anyhow::{Context as _, bail};

use super::unique::Part;
use super::{At, Undone, provider, size};
use crate::cli::SaveArgs;
use crate::exit::{self, Usage};
use crate::observed::image::newest;
use crate::publish::Hasher;
use crate::report::spinner::Transfer;

pub fn save(args: &SaveArgs, at: At<'_>, out: &mut dyn Write) -> anyhow::Result<u8> {
    let provider = provider(at.desired, args.provider.as_deref())?;
    let parent = args.file.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        bail!(Usage(format!("{}: there is no such directory", parent.display())));
    }
    let cloud = at.live.cloud(&provider).map_err(Undone::from)?;
    if args.file.is_dir() {
        bail!(Usage(format!("{} is a directory: give the file in it that is to be written", args.file.display())));
    }
    let there = || args.file.exists() && !args.force;
    if there() {
        bail!(Usage(format!("{} is there already; --force replaces it", args.file.display())));
    }
    let images = cloud.images_named(&args.name).map_err(Undone::from)?;
    let Some(image) = newest(&images, &args.name) else {
        if images.is_empty() {
            let name = &args.name;
            bail!(Usage(format!(
                "{name}: no image of that name or id in {provider}; `openstack image list` shows what is there"
            )));
        }
        let said = format!("{}: no active image of that name or id in {provider}", args.name);
        bail!(Undone::new(said, "`openstack image list` shows what is there"));
    };
    let data = cloud.data(&image.id).map_err(Undone::from)?;

    let part = Part::of(&args.file);
    let mut part = part.with_context(|| format!("making a file beside {}", args.file.display()))?;
    let bar = Transfer::new(&format!("saving {}", image.name), data.size.unwrap_or_default(), at.lively);
    let (mut hasher, mut written) = (Hasher::default(), 0);
    let saved = cloud.download(&image.id, &mut |bytes| {
        part.file.write_all(bytes)?;
        hasher.update(bytes);
        written += bytes.len() as u64;
        bar.at(written);
        Ok(())
    });
    bar.clear();
    saved.map_err(Undone::from)?;
    let hint = "save it again; when it stays so, the image is damaged in the cloud's store";
    let wrong = |why| Undone::new(format!("what came is not the image: {why}"), hint);
    let checksum = hasher.finish().compare(&data).map_err(wrong)?;
    part.file.sync_all().with_context(|| format!("writing {}", part.path().display()))?;
    if there() {
        bail!(Usage(format!("{} has come meanwhile; --force replaces it", args.file.display())));
    }
    part.rename(&args.file).with_context(|| format!("renaming what came to {}", args.file.display()))?;
    writeln!(out, "saved     {} ({}) of {provider} to {}: {}", image.name, image.id, args.file.display(), size(written))?;
    writeln!(out, "checked   {checksum}")?;
    Ok(exit::DONE)
}
