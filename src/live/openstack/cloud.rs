//! One provider's cloud as `live` uses it: its lists, its answers, its changes, as values of `observed` and `world`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::clouds_yaml::{self, CloudError, CloudsEnv};
use super::fault::CallError;
use super::service::{Clock, Session};
use super::{glance, neutron, nova};
use crate::desired::Provider;
use crate::live::http::{Client, Options, Patience};
use crate::names::{ControllerId, FloatingIpId, ImageId, ProviderName, ServerId};
use crate::observed::{
    Account, Flavor, FloatingIp, Gap, Image, ImageMark, Mark, Network, Port, ProviderLists, Quota, Server, ServerStatus, Source,
};
use crate::plan::{CreateFloatingIp, CreateImage, CreateServer};
use crate::world::{ActError, Done};

/// How many servers in ERROR are asked for their fault at each look: more than a few at a time failed for the same reason, and
/// all but one of a pool go at once.
const MAX_FAULTS: usize = 5;

/// Neutron's 404 to a new floating IP is not of itself: of its network, port, or the way between them.
const NO_ROUTE: &str = "a router must join the nodes' network to `floating-ip-network` of the provider: check both";

/// What a cloud needs of its surroundings: `settings` and `run` have it.
#[derive(Clone)]
pub struct Surroundings {
    pub env: CloudsEnv,
    /// Where tokens are kept between runs; none: they are not.
    pub cache_dir: Option<PathBuf>,
    pub patience: Patience,
    pub clock: Clock,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Surroundings").field("env", &self.env).field("cache_dir", &self.cache_dir).finish_non_exhaustive()
    }
}

/// A provider's client. Nothing is asked before the first call; calls may come from several threads.
#[derive(Debug)]
pub struct Cloud {
    provider: ProviderName,
    session: Session,
    /// Its nodes have floating IPs: they are listed.
    floating_ips: bool,
}

impl Cloud {
    /// Reads clouds.yaml and the files that it names.
    pub fn new(provider: &Provider, around: &Surroundings) -> Result<Self, CloudError> {
        let config = clouds_yaml::load(&around.env, &provider.cloud, provider.region.as_deref())?;
        let timeout = Duration::try_from(provider.api_timeout).unwrap_or(Duration::from_secs(30));
        let options = Options {
            verify: config.verify,
            cacert: config.cacert.clone(),
            client_cert: config.client_cert.clone(),
            ..Options::new(&config.auth_url, timeout, around.patience.clone())
        };
        let client = Client::new(&options).map_err(|error| {
            let said = format!("{}: cloud `{}`: {error}", config.file, config.cloud);
            clouds_yaml::error(
                said,
                "check `cacert`, `cert` and `key`; without `cacert` the system's own certificates (ca-certificates) are needed",
            )
        })?;
        let session = Session::new(config, client, around.cache_dir.as_deref(), Clock::clone(&around.clock));
        Ok(Self { provider: provider.name.clone(), session, floating_ips: provider.floating_ip_network.is_some() })
    }

    /// HTTP requests sent so far.
    pub fn calls(&self) -> u64 {
        self.session.calls()
    }

    /// Every server of the project, our images, and those of these names or ids. Three calls when the token is kept,
    /// no id is asked for and nothing failed: servers and images side by side. One more where nodes have floating IPs.
    pub fn lists(&self, glance_names: &[&str], controller: &ControllerId) -> Result<ProviderLists, Gap> {
        let account = self.account().map_err(|error| self.gap(error))?;
        let (servers, images, floating_ips) = std::thread::scope(|scope| {
            let images = scope.spawn(|| glance::images(&self.session, glance_names, controller));
            let floating_ips = self.floating_ips.then(|| scope.spawn(|| neutron::floating_ips(&self.session)));
            (nova::servers(&self.session), images.join(), floating_ips.map(std::thread::ScopedJoinHandle::join))
        });
        let floating_ips = floating_ips.transpose().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).transpose();
        let mut servers = servers.map_err(|error| self.gap(error))?;
        self.read_faults(&mut servers, controller);
        let images = images.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(|error| self.gap(error))?;
        let floating_ips = floating_ips.map_err(|error| self.gap(error))?.unwrap_or_default();
        Ok(ProviderLists { account, servers, images, floating_ips })
    }

    /// Nova keeps a fault in the cell that the server failed in, and its list reads those of one cell alone (nova/objects/
    /// instance.py, `fill_faults`): "No valid host was found", of cell 0, or what a host said is on the server itself only.
    /// One that cannot be read is left out: its state is known without.
    fn read_faults(&self, servers: &mut [Server], controller: &ControllerId) {
        let ours = |server: &Server| server.mark(Mark::Controller) == Some(controller.as_str());
        let silent = |server: &&mut Server| server.status == ServerStatus::Error && server.fault.is_none() && ours(server);
        for server in servers.iter_mut().filter(silent).take(MAX_FAULTS) {
            if let Ok(Some(seen)) = nova::server(&self.session, &server.id) {
                server.fault = seen.fault;
            }
        }
    }

    /// Whose eyes we see with.
    fn account(&self) -> Result<Account, CallError> {
        let facts = &self.session.token()?.facts;
        Ok(Account {
            file: self.session.config.file.clone(),
            cloud: self.session.config.cloud.clone(),
            project: facts.project.clone(),
            user: facts.user.clone(),
        })
    }

    /// A server as it is now; none: Nova says that it is not there.
    pub fn server(&self, id: &ServerId) -> Result<Option<Server>, Gap> {
        nova::server(&self.session, id).map_err(|error| self.server_gap(id, error))
    }

    /// The console log's end; empty while there is none.
    pub fn console(&self, id: &ServerId) -> Result<String, Gap> {
        nova::console(&self.session, id).map_err(|error| self.server_gap(id, error))
    }

    pub fn limits(&self) -> Result<Quota, Gap> {
        nova::limits(&self.session).map_err(|error| self.gap(error))
    }

    pub fn flavors(&self) -> Result<Vec<Flavor>, Gap> {
        nova::flavors(&self.session).map_err(|error| self.gap(error))
    }

    pub fn networks(&self) -> Result<Vec<Network>, Gap> {
        neutron::networks(&self.session).map_err(|error| self.gap(error))
    }

    /// A server's ports.
    pub fn ports(&self, server: &ServerId) -> Result<Vec<Port>, Gap> {
        neutron::ports(&self.session, server).map_err(|error| self.gap(error))
    }

    /// A floating IP as it is now; none: Neutron says that it is not there.
    pub fn floating_ip(&self, id: &FloatingIpId) -> Result<Option<FloatingIp>, Gap> {
        neutron::floating_ip(&self.session, id).map_err(|error| self.gap(error))
    }

    pub fn create_floating_ip(&self, wanted: &CreateFloatingIp) -> Result<Done, ActError> {
        neutron::create_floating_ip(&self.session, wanted).map_err(|error| {
            let unreachable = error.is_status(404).then(|| NO_ROUTE.to_owned());
            let error = self.act_error(error);
            ActError { hint: unreachable.or(error.hint), ..error }
        })
    }

    pub fn delete_floating_ip(&self, id: &FloatingIpId) -> Result<Done, ActError> {
        neutron::delete_floating_ip(&self.session, id).map_err(|error| self.act_error(error))
    }

    pub fn create_server(&self, wanted: &CreateServer) -> Result<Done, ActError> {
        nova::create(&self.session, wanted).map_err(|error| self.act_error(error))
    }

    pub fn set_marks(&self, id: &ServerId, marks: &BTreeMap<Mark, String>) -> Result<Done, ActError> {
        nova::set_marks(&self.session, id, marks).map_err(|error| self.act_error(error))
    }

    pub fn clear_mark(&self, id: &ServerId, mark: Mark) -> Result<Done, ActError> {
        nova::clear_mark(&self.session, id, mark).map_err(|error| self.act_error(error))
    }

    pub fn unlock(&self, id: &ServerId) -> Result<Done, ActError> {
        nova::unlock(&self.session, id).map_err(|error| self.act_error(error))
    }

    pub fn delete_server(&self, id: &ServerId) -> Result<Done, ActError> {
        nova::delete(&self.session, id).map_err(|error| self.act_error(error))
    }

    /// An image as it is now; none: Glance says that it is not there.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>, Gap> {
        glance::one(&self.session, id).map_err(|error| self.gap(error))
    }

    pub fn create_image(&self, wanted: &CreateImage) -> Result<Done, ActError> {
        nova::create_image(&self.session, wanted).map_err(|error| self.act_error(error))
    }

    pub fn mark_image(&self, id: &ImageId, marks: &BTreeMap<ImageMark, String>) -> Result<Done, ActError> {
        glance::mark(&self.session, id, marks).map_err(|error| self.act_error(error))
    }

    pub fn protect_image(&self, id: &ImageId, protected: bool) -> Result<Done, ActError> {
        glance::protect(&self.session, id, protected).map_err(|error| self.act_error(error))
    }

    pub fn rename_image(&self, id: &ImageId, name: &str) -> Result<Done, ActError> {
        glance::rename(&self.session, id, name).map_err(|error| self.act_error(error))
    }

    pub fn delete_image(&self, id: &ImageId) -> Result<Done, ActError> {
        glance::delete(&self.session, id).map_err(|error| self.act_error(error))
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn gap(&self, error: CallError) -> Gap {
        error.gap(Source::Provider(self.provider.clone()), &self.shown())
    }

    fn server_gap(&self, id: &ServerId, error: CallError) -> Gap {
        error.gap(Source::Server(self.provider.clone(), id.clone()), &self.shown())
    }

    pub(super) fn act_error(&self, error: CallError) -> ActError {
        error.act_error(self.provider.as_str(), &self.shown())
    }

    /// For hints.
    fn shown(&self) -> String {
        format!("cloud `{}` of {}", self.session.config.cloud, self.session.config.file)
    }
}
