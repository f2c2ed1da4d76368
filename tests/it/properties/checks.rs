//! What must be true of a world at any time, at its end, and of a plan with a gap more. Nothing happens here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use poolkeeper::names::{ProviderName, ServerId};
use poolkeeper::node::name::is_ours;
use poolkeeper::observed::{Gap, Mark, Observed, Server, Source};
use poolkeeper::plan::{Act, Plan};

use super::drive::{Drive, Held};
use crate::audited::planned;

/// Of `Event::Run`, and a pass's own time.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(90);

impl Drive {
    /// What holds at any time.
    pub(super) fn check(&self) {
        let (killed, starts) = self.world.with(|state| {
            let mut starts: BTreeMap<String, u32> = BTreeMap::new();
            for change in state.log.iter().filter(|change| change.kind == "start-script") {
                *starts.entry(change.name.clone()).or_default() += 1;
            }
            (state.killed_builds.clone(), starts)
        });
        assert!(killed.is_empty(), "builds were killed: {killed:?}");
        assert!(starts.values().all(|times| *times == 1), "scripts were started again: {starts:?}");
        let mut guarded = self.guarded.lock().expect("no panic");
        // A host's clock may be that much ahead.
        let soon = self.world.now() + MOST_SKEW;
        guarded.held.retain(|_, held| held.until > soon);
        for (provider, stranger) in &guarded.strangers {
            assert_eq!(self.world.server(provider, &stranger.id).as_ref(), Some(stranger), "somebody else's");
        }
        for (target, name) in &guarded.strange_agents {
            assert!(self.world.agent(target, name).is_some_and(|agent| !agent.temporarily_offline), "{name} is somebody else's");
        }
        let servers = self.servers();
        for (id, Held { server: held, agent, .. }) in &guarded.held {
            let now = servers.iter().find(|(_, server)| server.id == *id).map(|(_, server)| server);
            assert_eq!(now.map(|server| (&server.metadata, server.is_deleting())), Some((&held.metadata, false)), "it is held");
            assert!(!agent || self.agents().iter().any(|(_, name)| *name == held.name), "the agent of {} is held", held.name);
        }
        for name in &guarded.kept {
            assert!(servers.iter().any(|(_, server)| server.name == *name && !server.is_deleting()), "{name} is a person's");
            assert!(self.agents().iter().any(|(_, agent)| agent == name), "the agent {name} is a person's");
        }
        self.check_maxima(&servers);
    }

    fn check_maxima(&self, servers: &[(ProviderName, Server)]) {
        let desired = self.desired();
        for provider in desired.controller.providers.values() {
            let count = servers.iter().filter(|(of, _)| *of == provider.name).count();
            assert!(count <= provider.max_servers as usize, "{count} servers in {}", provider.name);
        }
        for pool in desired.pools.values() {
            let of = |server: &Server| server.metadata.get(Mark::Pool.key()).is_some_and(|name| *name == pool.name.as_str());
            let count = servers.iter().filter(|(_, server)| of(server)).count();
            assert!(count <= pool.max_servers as usize, "{count} servers of {}", pool.name);
        }
    }

    /// Each of ours is for a server that there is, no two for one, and somebody else's is as it was.
    fn check_floating_ips(&self, servers: &[(ProviderName, Server)]) {
        let desired = self.desired();
        for provider in desired.controller.providers.values().filter(|provider| provider.floating_ip_network.is_some()) {
            let (ours, others): (Vec<_>, Vec<_>) = self
                .world
                .floating_ips(&provider.name)
                .into_iter()
                .partition(|ip| ip.server_of(&desired.controller.id).is_some());
            assert_eq!(others.len(), 1, "somebody else's in {}: {others:?}", provider.name);
            let ids: Vec<ServerId> = ours.iter().filter_map(|ip| ip.server_of(&desired.controller.id)).collect();
            let distinct: BTreeSet<&ServerId> = ids.iter().collect();
            assert_eq!(distinct.len(), ids.len(), "two for one server: {ours:?}");
            let there = |id: &&ServerId| servers.iter().any(|(_, server)| server.id == **id);
            assert!(ids.iter().all(|id| there(&id)), "left over in {}: {ours:?}", provider.name);
        }
    }

    pub(super) fn check_accounts(&self, plan: &Plan) {
        let servers = self.servers();
        let names: BTreeSet<&str> = servers.iter().map(|(_, server)| server.name.as_str()).collect();
        let told: BTreeSet<&str> = plan.waits.iter().map(|wait| wait.subject.name.as_str()).collect();
        for name in &names {
            let works = self.targets().iter().any(|target| self.world.agent(target, name).is_some_and(|a| a.online() && !a.busy));
            assert!(works || told.contains(name), "{name}: nobody accounts for it");
        }
        self.check_floating_ips(&servers);
        let controller = self.desired().controller.id;
        for (_, agent) in self.agents().into_iter().filter(|(_, name)| is_ours(&controller, name)) {
            let unmarked = self.guarded.lock().expect("no panic").strangers.iter().any(|(_, server)| server.name == agent);
            assert!(unmarked || names.contains(agent.as_str()), "{agent}: an agent without a server");
        }
        for pool in &plan.pools {
            let counts = pool.counts;
            assert!(counts.have() >= counts.want || pool.waits_for.is_some(), "{}: nobody says why it lacks some", pool.name);
            assert!(counts.ready <= counts.want || !plan.refusals.is_empty(), "{}: {counts:?}", pool.name);
            assert!(counts.coming == 0 || !plan.refusals.is_empty(), "{}: {counts:?}", pool.name);
            assert_eq!(counts.used + counts.deleting, 0, "{}: {counts:?}", pool.name);
        }
    }

    /// A plan that a gap more makes: it needs no more, and creates nothing where it does not see.
    pub(super) fn check_gaps(&self, observed: &Observed, seen: &Plan, now: Timestamp) {
        let desired = self.desired();
        let need =
            |plan: &Plan| plan.pools.iter().map(|pool| (pool.name.clone(), pool.counts.need())).collect::<BTreeMap<_, _>>();
        let creates = |plan: &Plan| {
            let acts = plan.chains.iter().flat_map(|chain| &chain.actions);
            let pools =
                acts.filter_map(|action| if let Act::CreateServer(create) = &action.act { create.purpose.pool() } else { None });
            pools.cloned().collect::<BTreeSet<_>>()
        };
        let gap = |source: Source| Gap { source, tried: "a look".into(), answered: "HTTP 503".into(), hint: None };
        for target in desired.controller.targets.keys() {
            let mut observed = observed.clone();
            observed.lists.targets.insert(target.clone(), Err(gap(Source::Target(target.clone()))));
            let less = planned(&desired, &observed, now);
            let (more, before) = (need(&less), need(seen));
            assert!(
                more.iter().all(|(pool, need)| before.get(pool).is_some_and(|before| need <= before)),
                "{target} is a gap: {before:?}, then {more:?}"
            );
        }
        for provider in desired.controller.providers.keys() {
            let mut observed = observed.clone();
            observed.lists.providers.insert(provider.clone(), Err(gap(Source::Provider(provider.clone()))));
            let less = planned(&desired, &observed, now);
            let blind = |pool| desired.pools.get(pool).is_some_and(|pool| pool.providers.contains(provider));
            assert!(!creates(&less).iter().any(blind), "{provider} is a gap");
        }
    }
}
