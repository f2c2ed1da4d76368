//! Glance's images, with Glance's rules, and how Nova saves a server as one: queued, saving, active, or what a fault makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::cloud::Cloud;
use super::disk::Disk;
use super::faults::SaveFate;
use super::refusal::Refusal;
use super::state::State;
use super::upload::Stored;
use crate::names::{ImageId, ProviderName, ServerId};
use crate::observed::Image;

#[derive(Debug, Clone)]
pub struct CloudImage {
    /// With all its properties, not only ours.
    pub seen: Image,
    pub updated: Timestamp,
    /// None until the data has come.
    pub disk_format: Option<String>,
    /// GiB.
    pub min_disk: u64,
    /// MiB.
    pub min_ram: u64,
    /// What a server that boots from it has on its disk.
    pub disk: Disk,
    /// Of one that was uploaded.
    pub data: Option<Arc<Stored>>,
    /// Its data is coming.
    pub(super) uploading: bool,
    /// Nova is at it.
    saving: Option<Saving>,
}

/// A server that is being saved as an image.
#[derive(Debug, Clone)]
struct Saving {
    server: ServerId,
    /// When its data begins to come.
    uploads: Timestamp,
    ends: Timestamp,
    fate: SaveFate,
}

/// One operation of a `PATCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageChange {
    Name(String),
    Protected(bool),
    Property(String, String),
}

/// Nova's default `non_inheritable_image_properties`.
const NOT_INHERITED: [&str; 6] = [
    "cache_in_nova",
    "bittorrent",
    "img_signature_hash_method",
    "img_signature",
    "img_signature_key_type",
    "img_signature_certificate_uuid",
];

/// Bytes of every image's data.
const SIZE: u64 = 300 << 20;

impl CloudImage {
    /// One that was uploaded some time ago.
    pub(super) fn active(id: String, name: &str, created: Timestamp, owner: &str) -> Self {
        let seen = Image {
            id: ImageId::new(id),
            name: name.to_owned(),
            status: "active".to_owned(),
            created,
            owner: Some(owner.to_owned()),
            protected: false,
            size: Some(SIZE),
            properties: BTreeMap::new(),
        };
        let disk_format = Some("raw".to_owned());
        let (disk, data) = (Disk::default(), None);
        Self { seen, updated: created, disk_format, min_disk: 0, min_ram: 0, disk, data, uploading: false, saving: None }
    }

    /// As the `World` lists it: of its properties only ours.
    pub(super) fn listed(&self) -> Image {
        let mut image = self.seen.clone();
        image.properties.retain(|key, _| key.starts_with("poolkeeper_"));
        image
    }

    fn end(&mut self, status: &str, now: Timestamp) {
        status.clone_into(&mut self.seen.status);
        self.saving = None;
        self.updated = now;
    }
}

/// Glance's words for an image that it does not have.
pub fn no_image(id: &str) -> Refusal {
    Refusal::new(404, format!("No image found with ID {id}"))
}

impl Cloud {
    pub fn image(&self, id: &str) -> Option<&CloudImage> {
        self.images.iter().find(|image| image.seen.id.as_str() == id)
    }

    pub(super) fn image_mut(&mut self, id: &ImageId) -> Result<&mut CloudImage, Refusal> {
        let image = self.images.iter_mut().find(|image| image.seen.id == *id);
        image.ok_or_else(|| no_image(id.as_str()))
    }

    /// What Nova gives a snapshot of a server: the properties of the image that it was booted from, Nova's own, and above all
    /// what the call says (nova/compute/utils.py, `initialize_instance_snapshot_metadata`).
    fn snapshot_properties(&self, id: &ServerId, metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let Some(server) = self.servers.get(id) else { return BTreeMap::new() };
        let mut properties = server.image_properties.clone();
        properties.retain(|key, _| !NOT_INHERITED.contains(&key.as_str()));
        let base = server.seen.image.as_ref().map(|image| ("base_image_ref".to_owned(), image.to_string()));
        properties.extend(base);
        let own = [
            ("instance_uuid", id.as_str()),
            ("user_id", self.user_id.as_str()),
            ("image_type", "snapshot"),
            ("boot_roles", "reader,member"),
            ("owner_user_name", self.user.as_str()),
            ("owner_project_name", self.project.as_str()),
        ];
        properties.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        properties.extend(metadata.clone());
        properties
    }

    /// Nova's task of a server that is being saved; none: it is over.
    fn set_save_task(&mut self, server: &ServerId, task: Option<&str>) {
        if let Some(server) = self.servers.get_mut(server).filter(|server| server.gone_at.is_none()) {
            server.seen.task = task.map(str::to_owned);
        }
    }

    /// What this second brings to images that are being saved.
    fn step_images(&mut self, now: Timestamp) {
        let saving: Vec<(ImageId, Saving)> =
            self.images.iter().filter_map(|image| Some((image.seen.id.clone(), image.saving.clone()?))).collect();
        for (id, Saving { server, uploads, ends, fate }) in saving {
            let Ok(image) = self.image_mut(&id) else { continue };
            match fate {
                SaveFate::NeverSaves => {}
                _ if now < uploads => {}
                SaveFate::Saved | SaveFate::Killed | SaveFate::Fails | SaveFate::Stuck if now < ends => {
                    "saving".clone_into(&mut image.seen.status);
                    self.set_save_task(&server, Some("image_uploading"));
                }
                SaveFate::Stuck => {}
                SaveFate::Saved => {
                    image.end("active", now);
                    image.seen.size = Some(SIZE);
                    image.disk_format = Some("raw".to_owned());
                    self.set_save_task(&server, None);
                }
                SaveFate::Killed => {
                    image.end("killed", now);
                    self.set_save_task(&server, None);
                }
                // Nova deletes what it could not save, and is ready for the next try.
                SaveFate::Fails => {
                    self.images.retain(|image| image.seen.id != id);
                    self.set_save_task(&server, None);
                }
            }
        }
    }

    /// With its server goes an image that it was being saved as, unless nobody is at it any more.
    pub(super) fn drop_unsaved(&mut self, server: &ServerId) {
        let lost = |fate: SaveFate| matches!(fate, SaveFate::NeverSaves | SaveFate::Stuck);
        let unsaved =
            |image: &CloudImage| image.saving.as_ref().is_some_and(|saving| saving.server == *server && !lost(saving.fate));
        self.images.retain(|image| !unsaved(image));
    }
}

impl State {
    /// `POST /servers/ID/action createImage`: the id of the image to come.
    pub fn create_image(
        &mut self,
        provider: &ProviderName,
        server: &ServerId,
        name: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<ImageId, Refusal> {
        let (now, id) = (self.clock.now(), self.ids.uuid());
        let (uploads, ends) = (self.clock.after(self.delays.save / 2), self.clock.after(self.delays.save));
        let disk = self.machines.get(server).map(|machine| machine.disk.at(now)).unwrap_or_default();
        let cloud = self.cloud(provider)?;
        cloud.server(server)?.check_create_image()?;
        let properties = cloud.snapshot_properties(server, metadata);
        let mut image = CloudImage::active(id, name, now, &cloud.project_id);
        let fate = cloud.server(server)?.fate.save;
        image.seen = Image { status: "queued".to_owned(), size: None, properties, ..image.seen };
        (image.disk_format, image.min_disk, image.disk) = (None, 1, disk);
        image.saving = Some(Saving { server: server.clone(), uploads, ends, fate });
        let id = image.seen.id.clone();
        cloud.images.push(image);
        cloud.set_save_task(server, Some("image_snapshot_pending"));
        let detail: Vec<String> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.log("create-image", name, detail.join(" "));
        Ok(id)
    }

    /// `POST /images`: a record without data.
    pub fn new_image(
        &mut self,
        provider: &ProviderName,
        name: &str,
        disk_format: Option<String>,
        (min_disk, min_ram): (u64, u64),
        properties: BTreeMap<String, String>,
    ) -> Result<&CloudImage, Refusal> {
        let (now, id) = (self.clock.now(), self.ids.uuid());
        self.log("new-image", name, id.clone());
        let cloud = self.cloud(provider)?;
        let mut image = CloudImage::active(id, name, now, &cloud.project_id);
        image.seen = Image { status: "queued".to_owned(), size: None, properties, ..image.seen };
        (image.disk_format, image.min_disk, image.min_ram) = (disk_format, min_disk, min_ram);
        cloud.images.push(image);
        cloud.images.last().ok_or_else(|| no_image(name))
    }

    /// `PATCH /images/ID`: all of it or nothing, and the image as it is then.
    pub fn change_image(
        &mut self,
        provider: &ProviderName,
        id: &ImageId,
        changes: &[ImageChange],
    ) -> Result<CloudImage, Refusal> {
        let now = self.clock.now();
        let cloud = self.cloud(provider)?;
        let project = cloud.project_id.clone();
        let image = cloud.image_mut(id)?;
        if image.seen.owner.as_ref() != Some(&project) {
            return Err(Refusal::new(403, "You are not authorized to complete modify_image action."));
        }
        let before = image.seen.name.clone();
        for change in changes {
            match change {
                ImageChange::Name(name) => image.seen.name.clone_from(name),
                ImageChange::Protected(protected) => image.seen.protected = *protected,
                ImageChange::Property(key, value) => {
                    image.seen.properties.insert(key.clone(), value.clone());
                }
            }
        }
        image.updated = now;
        let image = image.clone();
        for change in changes {
            let (kind, detail) = match change {
                ImageChange::Name(name) => ("rename-image", name.clone()),
                ImageChange::Protected(protected) => ("protect-image", protected.to_string()),
                ImageChange::Property(key, value) => ("mark-image", format!("{key}={value}")),
            };
            self.log(kind, before.clone(), detail);
        }
        Ok(image)
    }

    /// `DELETE /images/ID`. Servers that were booted from it live on.
    pub fn delete_image(&mut self, provider: &ProviderName, id: &ImageId) -> Result<(), Refusal> {
        let cloud = self.cloud(provider)?;
        let project = cloud.project_id.clone();
        let Ok(image) = cloud.image_mut(id) else {
            return Err(Refusal::new(404, format!("Failed to find image {id} to delete")));
        };
        if image.seen.owner.as_ref() != Some(&project) {
            return Err(Refusal::new(403, "You do not own this image"));
        }
        if image.seen.protected {
            return Err(Refusal::new(403, format!("Image {id} is protected and cannot be deleted.")));
        }
        let (name, saving) = (image.seen.name.clone(), image.saving.take());
        cloud.images.retain(|image| image.seen.id != *id);
        if let Some(saving) = saving {
            cloud.set_save_task(&saving.server, None);
        }
        self.log("delete-image", name, id.as_str());
        Ok(())
    }

    pub(super) fn step_images(&mut self, provider: &ProviderName) {
        let now = self.clock.now();
        if let Some(cloud) = self.clouds.get_mut(provider) {
            cloud.step_images(now);
        }
    }
}
