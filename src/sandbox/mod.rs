//! An in-memory OpenStack, Jenkins and set of machines: for the tests, `poolkeeper demo` and `poolkeeper sandbox`. One state
//! with a clock of its own; `world` asks it directly, `serve_http` and `serve_ssh` serve it to the real clients.

mod acts;
pub mod clock;
pub mod cloud;
mod connections;
pub mod disk;
pub mod faults;
pub mod floating;
pub mod generation;
pub mod images;
pub mod jenkins;
mod jenkins_view;
pub mod machine;
mod person;
mod refusal;
mod remote;
pub mod serve_http;
pub mod serve_ssh;
mod servers;
pub mod stage;
mod state;
pub mod upload;
mod world;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::desired::{Desired, FlavorChoice};
use crate::names::{ProviderName, TargetName};

pub use faults::{
    ActFault, AgentFate, BuildFate, Delays, Drop, Fate, HttpFault, HttpFaultAnswer, SaveFate, ScriptFate, SshFate, Stop,
};
pub use generation::Generation;
pub use refusal::Refusal;
pub use state::{Change, KilledBuild, State};

/// The world. Clones are the same world.
#[derive(Debug, Clone)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
}

impl Sandbox {
    /// An empty world. The same seed and the same calls make the same ids.
    pub fn new(start: Timestamp, seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(start, seed))) }
    }

    /// A world that has all that a desired state names: providers with networks, flavors and images, targets.
    pub fn for_desired(desired: &Desired, generation: Generation, start: Timestamp, seed: u64) -> Self {
        let sandbox = Self::new(start, seed);
        for provider in desired.controller.providers.values() {
            sandbox.add_provider(&provider.name);
            for network in &provider.networks {
                sandbox.add_network(&provider.name, network);
            }
            if let Some(network) = &provider.floating_ip_network {
                sandbox.add_external_network(&provider.name, network);
            }
            for name in desired.glance_names() {
                sandbox.add_image(&provider.name, name);
            }
        }
        let choices = desired.pools.values().map(|pool| (&pool.providers, &pool.flavor));
        let builders = desired.images.values().map(|image| (&image.providers, &image.flavor));
        for (providers, choice) in choices.chain(builders) {
            let (name, ram) = match choice {
                FlavorChoice::Name(name) => (name.clone(), 2048),
                FlavorChoice::AtLeast { min_ram, name_contains } => (format!("{name_contains}.fit"), u64::from(*min_ram)),
            };
            for provider in providers {
                sandbox.add_flavor(provider, &name, 1, ram);
            }
        }
        for target in desired.controller.targets.keys() {
            sandbox.add_target(target, generation);
        }
        sandbox
    }

    /// With the flavor `m1.small`, without networks, images and limits.
    pub fn add_provider(&self, name: &ProviderName) {
        self.with(|state| state.add_provider(name));
    }

    pub fn add_target(&self, name: &TargetName, generation: Generation) {
        self.with(|state| state.add_target(name, generation));
    }

    pub fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    /// Time goes on, second by second.
    pub fn tick(&self, seconds: u32) {
        let mut state = self.lock();
        for _ in 0..seconds {
            state.step();
        }
        state.move_doors();
    }

    /// Any look at the state, or change of it, that has no function of its own.
    pub fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state);
        state.move_doors();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked in `with` has failed anyway; the others may look on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
