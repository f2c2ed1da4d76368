//! `image save`: an image's data into a file, whole and checked, or not at all.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use super::{At, Undone, provider, size};
use crate::cli::SaveArgs;
use crate::exit::{self, Usage};
use crate::lock::try_lock;
use crate::observed::image::newest;
use crate::publish::Hasher;
use crate::report::spinner::Transfer;

pub fn save(args: &SaveArgs, at: At<'_>, out: &mut dyn Write) -> anyhow::Result<u8> {
    let provider = provider(at.desired, args.provider.as_deref())?;
    let cloud = at.live.cloud(&provider).map_err(Undone::from)?;
    let there = || args.file.exists() && !args.force;
    if there() {
        bail!(Usage(format!("{} is there already; --force replaces it", args.file.display())));
    }
    let images = cloud.images_named(&args.name).map_err(Undone::from)?;
    let Some(image) = newest(&images, &args.name) else {
        let others = if images.is_empty() { "no image of that name or id" } else { "no active image of that name or id" };
        bail!(Undone::new(format!("{}: {others} in {provider}", args.name), "`openstack image list` shows what is there"));
    };
    let data = cloud.data(&image.id).map_err(Undone::from)?;

    let part = PathBuf::from(format!("{}.part", args.file.display()));
    let writing = || format!("writing {}", part.display());
    // Two of them at one time would write into each other.
    let _alone = try_lock(&part)?;
    let mut file = fs::File::create(&part).with_context(writing)?;
    let bar = Transfer::new(&format!("saving {}", image.name), data.size.unwrap_or_default(), at.lively);
    let (mut hasher, mut written) = (Hasher::default(), 0);
    let saved = cloud.download(&image.id, &mut |bytes| {
        file.write_all(bytes)?;
        hasher.update(bytes);
        written += bytes.len() as u64;
        bar.at(written);
        Ok(())
    });
    bar.clear();
    let checked = saved.map_err(Undone::from).and_then(|()| {
        let hint = "save it again; when it stays so, the image is damaged in the cloud's store";
        hasher.finish().compare(&data).map_err(|why| Undone::new(format!("what came is not the image: {why}"), hint))
    });
    let checksum = match checked {
        Ok(checksum) => checksum,
        Err(error) => {
            // What is left of it would only be in the way.
            drop(fs::remove_file(&part));
            return Err(error.into());
        }
    };
    file.sync_all().with_context(writing)?;
    if there() {
        bail!(Usage(format!("{} has come meanwhile; --force replaces it", args.file.display())));
    }
    fs::rename(&part, &args.file).with_context(|| format!("renaming {} to {}", part.display(), args.file.display()))?;
    writeln!(out, "saved     {} ({}) of {provider} to {}: {}", image.name, image.id, args.file.display(), size(written))?;
    writeln!(out, "checked   {checksum}")?;
    Ok(exit::DONE)
}
