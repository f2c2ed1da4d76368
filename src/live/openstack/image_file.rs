//! Images as files: a record made for one, its data up and down as streams, and what Glance says of the data.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::auth::Service;
use super::cloud::Cloud;
use super::fault::{self, CallError};
use super::glance;
use super::service::Session;
use crate::live::http::{Method, Request, Stream};
use crate::names::ImageId;
use crate::observed::{Gap, Image};
use crate::world::ActError;

/// What an image's record is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    pub name: String,
    pub disk_format: String,
    pub container_format: String,
    /// GiB.
    pub min_disk: u64,
    /// MiB.
    pub min_ram: u64,
    pub properties: BTreeMap<String, String>,
}

/// What Glance says of an image's data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Data {
    pub size: Option<u64>,
    /// MD5.
    pub checksum: Option<String>,
    /// `sha512` unless its operator wants another; none before Rocky.
    pub os_hash_algo: Option<String>,
    pub os_hash_value: Option<String>,
}

impl Cloud {
    /// Images of this name or id, whoever's.
    pub fn images_named(&self, name: &str) -> Result<Vec<Image>, Gap> {
        glance::named(self.session(), name).map_err(|error| self.gap(error))
    }

    /// Those, and the ones that carry this property.
    pub fn images_of(&self, name: &str, (key, value): (&str, &str)) -> Result<Vec<Image>, Gap> {
        let images = || {
            let mut images = glance::named(self.session(), name)?;
            images.extend(glance::with_property(self.session(), key, value)?);
            images.sort_by(|a, b| a.id.cmp(&b.id));
            images.dedup_by(|a, b| a.id == b.id);
            Ok(images)
        };
        images().map_err(|error: CallError| self.gap(error))
    }

    /// Never sent twice: a record without an answer is found by its properties.
    pub fn create_record(&self, new: &NewImage) -> Result<Image, ActError> {
        create_record(self.session(), new).map_err(|error| self.act_error(error))
    }

    /// The data of an image that has none. Glance itself says whether it came whole: `data`.
    pub fn upload(&self, id: &ImageId, stream: &Stream) -> Result<(), ActError> {
        let ask = |url| Request::new(Method::Put, url).stream(stream.clone());
        let result = self.session().call(Service::Image, &format!("/images/{id}/file"), ask);
        let done = result.and_then(
            |(tried, response)| {
                if response.is_success() { Ok(()) } else { Err(fault::refused(&tried, &response)) }
            },
        );
        done.map_err(|error| self.act_error(error))
    }

    pub fn data(&self, id: &ImageId) -> Result<Data, Gap> {
        data(self.session(), id).map_err(|error| self.gap(error))
    }

    /// All of its record, with the properties that are not ours.
    pub fn about(&self, id: &ImageId) -> Result<Map<String, Value>, Gap> {
        data(self.session(), id).map_err(|error| self.gap(error))
    }

    /// An image's data, part by part.
    pub fn download(&self, id: &ImageId, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Gap> {
        let result = self.session().download(Service::Image, &format!("/images/{id}/file"), take);
        let done = result.and_then(|(tried, response)| match response.status {
            // An image without data: queued, or made of volumes.
            204 => Err(fault::unreadable(&tried, &response, "the image has no data")),
            _ if response.is_success() => Ok(()),
            _ => Err(fault::refused(&tried, &response)),
        });
        done.map_err(|error| self.gap(error))
    }
}

fn create_record(session: &Session, new: &NewImage) -> Result<Image, CallError> {
    let NewImage { name, disk_format, container_format, min_disk, min_ram, properties } = new;
    let mut body = json!({
        "name": name, "disk_format": disk_format, "container_format": container_format, "min_disk": min_disk,
        "min_ram": min_ram, "visibility": "private",
    });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(properties.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
    }
    let (tried, response) = session.call(Service::Image, "/images", |url| Request::post(url).json(body.clone()))?;
    glance::read(&tried, &response)
}

fn data<T: DeserializeOwned>(session: &Session, id: &ImageId) -> Result<T, CallError> {
    let (tried, response) = session.call(Service::Image, &format!("/images/{id}"), Request::get)?;
    if !response.is_success() {
        return Err(fault::refused(&tried, &response));
    }
    response.json().map_err(|said| fault::foreign(&tried, &response, &said))
}
