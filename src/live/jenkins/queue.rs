//! The build queue, as far as it tells that a Pipeline waits for one node by its name.

use serde::Deserialize;

/// Of every item: why it waits, and what it is.
pub(super) const PATH: &str = "queue/api/json?tree=items%5Bwhy,task%5B_class%5D%5D";

/// The answer to `PATH`. Without Job/Read it is empty.
#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    why: Option<String>,
    task: Option<Task>,
}

#[derive(Debug, Deserialize)]
struct Task {
    #[serde(rename = "_class")]
    class: Option<String>,
}

impl Queue {
    /// Why each item waits that may be a Pipeline that goes on: localised, but a node's name stands in it as it is.
    ///
    /// Any other job asks for a label, and never for a node; controllers of before 2.2 do not tell the two apart.
    pub(super) fn pipelines(self) -> Vec<String> {
        let may_be = |item: &Item| {
            let class = item.task.as_ref().and_then(|task| task.class.as_deref());
            class.is_none_or(|class| class.ends_with("$PlaceholderTask"))
        };
        self.items.into_iter().filter(may_be).filter_map(|item| item.why).collect()
    }
}
