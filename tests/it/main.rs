//! All integration tests in one binary: one link, one place. A file a subject.
#![expect(clippy::expect_used, reason = "a helper of a test fails by panicking, as the test does")]
#![cfg_attr(feature = "sandbox", expect(clippy::panic, reason = "the same"))]

#[cfg(feature = "sandbox")]
mod audited;
#[cfg(feature = "sandbox")]
mod builders;
#[cfg(feature = "sandbox")]
mod calls;
#[cfg(feature = "sandbox")]
mod cli;
#[cfg(feature = "sandbox")]
mod explain;
#[cfg(feature = "sandbox")]
mod floating;
#[cfg(feature = "sandbox")]
mod guards;
#[cfg(feature = "sandbox")]
mod holds;
mod http;
mod http_server;
#[cfg(feature = "sandbox")]
mod image_build;
#[cfg(feature = "sandbox")]
mod image_commands;
#[cfg(feature = "sandbox")]
mod image_save;
mod image_words;
#[cfg(feature = "sandbox")]
mod images;
#[cfg(feature = "sandbox")]
mod images_fail;
#[cfg(feature = "sandbox")]
mod images_limits;
mod images_refused;
mod images_roll;
mod jenkins;
#[cfg(feature = "sandbox")]
mod killed;
#[cfg(feature = "sandbox")]
mod lies;
mod loader;
mod machine;
mod mutations;
mod openstack;
mod openstack_calls;
mod openstack_clouds;
mod openstack_floating;
mod openstack_images;
#[cfg(feature = "sandbox")]
mod progress;
#[cfg(feature = "sandbox")]
mod properties;
#[cfg(feature = "sandbox")]
mod publish;
#[cfg(feature = "sandbox")]
mod publish_names;
mod publish_two;
#[cfg(feature = "sandbox")]
mod rolling;
#[cfg(feature = "sandbox")]
mod runs;
#[cfg(feature = "sandbox")]
mod sandbox;
#[cfg(feature = "sandbox")]
mod scenarios;
#[cfg(feature = "sandbox")]
mod scene;
#[cfg(feature = "sandbox")]
mod served;
#[cfg(feature = "sandbox")]
mod states;
#[cfg(feature = "sandbox")]
mod status;
mod tidy;
mod trace;
mod units;
#[cfg(feature = "sandbox")]
mod used;
#[cfg(feature = "sandbox")]
mod wire;
