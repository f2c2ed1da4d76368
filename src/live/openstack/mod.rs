//! A thin OpenStack client: what poolkeeper asks of Keystone, Nova, Glance and Neutron, and no more.

mod auth;
mod cloud;
pub mod clouds_yaml;
pub mod fault;
mod glance;
mod identity;
mod image_file;
mod neutron;
mod nova;
mod nova_json;
mod service;
mod token_cache;

pub use cloud::{Cloud, Surroundings};
pub use clouds_yaml::{CloudError, CloudsEnv};
pub use identity::{CloudConfig, Identity, Named};
pub use image_file::{Data, NewImage};
pub use nova_json::servers_of_page;
pub use service::Clock;
