//! Snapshots: which there are, when one is built, its builder's steps, which of them go. Pure.

pub mod builder;
pub mod due;
pub mod keep;

use std::collections::BTreeMap;

use super::WaitsFor;
use crate::desired::{Desired, SnapshotImage};
use crate::names::{ControllerId, ImageId, ImageName, ProviderName};
use crate::observed::{Image, ImageMark, Observed};

/// Snapshots of ours that are sealed, good and bad, of the providers that were seen.
#[derive(Debug)]
pub struct Snapshots<'a> {
    controller: &'a ControllerId,
    /// Newest first.
    of: BTreeMap<(ImageName, ProviderName), Vec<&'a Image>>,
}

impl<'a> Snapshots<'a> {
    pub fn of(desired: &'a Desired, observed: &'a Observed) -> Self {
        let controller = &desired.controller.id;
        let mut of: BTreeMap<(ImageName, ProviderName), Vec<&Image>> = BTreeMap::new();
        for (provider, list) in observed.lists.providers.iter().filter_map(|(name, list)| Some((name, list.as_ref().ok()?))) {
            for image in list.images.iter().filter(|image| image.is_sealed(controller)) {
                if let Some(name) = image.mark(ImageMark::Image) {
                    of.entry((ImageName::from(name), provider.clone())).or_default().push(image);
                }
            }
        }
        for images in of.values_mut() {
            images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        }
        Self { controller, of }
    }

    /// All of an image in a provider, newest first.
    pub fn all(&self, image: &ImageName, provider: &ProviderName) -> &[&'a Image] {
        self.of.get(&(image.clone(), provider.clone())).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those that nodes boot from, newest first.
    pub fn good(&self, image: &ImageName, provider: &ProviderName) -> impl Iterator<Item = &'a Image> {
        self.all(image, provider).iter().copied().filter(|image| image.is_good(self.controller))
    }

    pub fn newest_good(&self, image: &ImageName, provider: &ProviderName) -> Option<&'a Image> {
        self.good(image, provider).next()
    }

    pub fn has_good(&self, provider: &ProviderName, id: &ImageId) -> bool {
        let of_provider = self.of.iter().filter(|((_, of), _)| of == provider);
        of_provider.flat_map(|(_, images)| images).any(|image| image.id == *id && image.is_good(self.controller))
    }
}

/// The newest active base image of that name, or the one with that id. Of several projects' images of one name none is taken
/// unless it is said whose: anybody can share one of any name.
pub fn base<'a>(images: &'a [Image], wanted: &SnapshotImage) -> Result<&'a Image, WaitsFor> {
    let (name, owner) = (&wanted.base_image, wanted.base_image_owner.as_ref());
    let active = || images.iter().filter(|image| image.is_active());
    if let Some(image) = active().find(|image| image.id.as_str() == name) {
        return Ok(image);
    }
    let named: Vec<&Image> =
        active().filter(|image| image.name == *name && owner.is_none_or(|owner| image.owner.as_ref() == Some(owner))).collect();
    let mut owners: Vec<String> = named.iter().map(|image| image.owner.clone().unwrap_or_default()).collect();
    owners.sort_unstable();
    owners.dedup();
    if owners.len() > 1 {
        return Err(WaitsFor::SeveralOwners { name: name.clone(), owners });
    }
    let newest = named.into_iter().min_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    newest.ok_or_else(|| WaitsFor::NoImage { name: name.clone(), before: None })
}
