//! An image as Glance lists it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::ImageMark;
use crate::names::{ControllerId, ImageId};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Image {
    pub id: ImageId,
    pub name: String,
    /// `queued`, `saving`, `active`, `killed`, `deactivated`, ...
    pub status: String,
    pub created: Timestamp,
    /// The owning project's id.
    pub owner: Option<String>,
    pub protected: bool,
    /// Bytes; none until the data has come.
    pub size: Option<u64>,
    /// The `poolkeeper_*` properties alone.
    pub properties: BTreeMap<String, String>,
}

impl Image {
    /// The value of one of our properties; an empty one is none.
    pub fn mark(&self, mark: ImageMark) -> Option<&str> {
        self.properties.get(mark.key()).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// It carries our deployment's id, written or inherited: by itself that says nothing.
    pub fn names(&self, controller: &ControllerId) -> bool {
        self.mark(ImageMark::Controller) == Some(controller.as_str())
    }

    /// A snapshot of ours that nodes may boot from, good or bad: what inherited our properties carries another one's id.
    pub fn is_sealed(&self, controller: &ControllerId) -> bool {
        self.names(controller) && self.mark(ImageMark::Itself) == Some(self.id.as_str())
    }

    /// Sealed, active and not marked bad.
    pub fn is_good(&self, controller: &ControllerId) -> bool {
        self.is_sealed(controller) && self.is_active() && self.mark(ImageMark::Bad).is_none()
    }

    pub fn is_active(&self) -> bool {
        self.status == "active"
    }
}

/// The newest active image of this name, or the active one with this id. Two of one name and one second: the smaller id.
pub fn newest<'a>(images: &'a [Image], name_or_id: &str) -> Option<&'a Image> {
    images
        .iter()
        .filter(|image| image.is_active() && (image.name == name_or_id || image.id.as_str() == name_or_id))
        .min_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)))
}
