//! Every plan that a test sees is audited here.

use jiff::Timestamp;
use poolkeeper::desired::Desired;
use poolkeeper::execute::ChainResult;
use poolkeeper::observed::Observed;
use poolkeeper::plan::audit::audit;
use poolkeeper::plan::{Chain, Plan, plan};
use poolkeeper::run::Audience;

/// The rules that no plan may break.
#[track_caller]
pub(crate) fn audited(desired: &Desired, observed: &Observed, plan: &Plan, now: Timestamp) {
    let offences = audit(desired, observed, plan, now);
    assert!(offences.is_empty(), "{offences:?}: {:#?}", brief(plan));
}

/// A plan as every test makes it: audited.
#[track_caller]
pub(crate) fn planned(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    let plan = plan(desired, observed, now);
    audited(desired, observed, &plan, now);
    plan
}

/// Says yes to every plan, once it is audited.
pub(crate) struct Yes<'a>(pub(crate) &'a Desired);

impl Audience for Yes<'_> {
    fn looked(&self, observed: &Observed, plan: &Plan, now: Timestamp) {
        audited(self.0, observed, plan, now);
    }

    fn approve(&self, _plan: &Plan, _pass: u32) -> bool {
        true
    }

    fn chain(&self, _chain: &Chain, _result: &ChainResult) {}
}

/// A plan's chains, a line each.
pub(crate) fn brief(plan: &Plan) -> Vec<String> {
    let line = |chain: &Chain| {
        let acts: Vec<&str> = chain.actions.iter().map(|action| action.act.kind()).collect();
        format!("{:?} {}: {} ({})", chain.verb, chain.subject.name, acts.join(", "), chain.because)
    };
    plan.chains.iter().map(line).collect()
}
