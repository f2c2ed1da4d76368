//! What a person said yes to, as a value: later passes of the same run do that and its continuations, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::{Act, Chain, Plan, Verb};
use crate::names::{NodeName, ProviderName, Purpose};
use crate::observed::{Mark, ThisRun};

/// Creates are approved by pool or image, provider and spec, as many as shown; all else by its subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approved {
    creates: BTreeMap<(Purpose, ProviderName, String), u32>,
    subjects: BTreeSet<NodeName>,
}

fn create_key(chain: &Chain) -> Option<(Purpose, ProviderName, String)> {
    chain.actions.iter().find_map(|action| {
        let Act::CreateServer(create) = &action.act else { return None };
        let spec = create.marks.get(&Mark::Spec).cloned().unwrap_or_default();
        Some((create.purpose.clone(), create.provider.clone(), spec))
    })
}

impl Approved {
    /// Everything that a plan shows.
    pub fn of(plan: &Plan) -> Self {
        let mut approved = Self::default();
        for chain in &plan.chains {
            match create_key(chain) {
                Some(key) => *approved.creates.entry(key).or_default() += 1,
                None => {
                    approved.subjects.insert(chain.subject.name.clone());
                }
            }
        }
        for wait in &plan.waits {
            // What was shown as on its way up may go on.
            if wait.waits_for.is_under_way() {
                approved.subjects.insert(wait.subject.name.clone());
            }
        }
        approved
    }

    /// The part of a later pass's plan that was approved, and how many chains are left out. Facts are written whatever was
    /// approved: they change no machine.
    #[must_use]
    pub fn within(&self, mut plan: Plan, this_run: &ThisRun) -> (Plan, u32) {
        let all = plan.chains.len();
        let mut left = self.creates.clone();
        for launched in &this_run.launched {
            let kinds = left.iter_mut().find(|((purpose, provider, _), count)| {
                *purpose == launched.purpose && *provider == launched.provider && **count > 0
            });
            if let Some((_, count)) = kinds {
                *count -= 1;
            }
        }
        plan.chains.retain(|chain| match create_key(chain) {
            Some(key) => left.get_mut(&key).is_some_and(|count| {
                let may = *count > 0;
                *count = count.saturating_sub(1);
                may
            }),
            None => {
                chain.verb == Verb::Mark
                    || self.subjects.contains(&chain.subject.name)
                    || this_run.names.contains(&chain.subject.name)
            }
        });
        let left_out = u32::try_from(all - plan.chains.len()).unwrap_or(u32::MAX);
        (plan, left_out)
    }
}
