//! An image as Glance lists it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::names::ImageId;

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

/// The newest active image of this name, or the active one with this id. Two of one name and one second: the smaller id.
pub fn newest<'a>(images: &'a [Image], name_or_id: &str) -> Option<&'a Image> {
    images
        .iter()
        .filter(|image| image.status == "active" && (image.name == name_or_id || image.id.as_str() == name_or_id))
        .min_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)))
}
