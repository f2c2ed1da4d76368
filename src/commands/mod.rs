//! One file a command, thin: settings in, stages called, report out.

pub mod apply;
#[cfg(feature = "sandbox")]
pub mod demo;
pub mod dispatch;
pub mod explain;
pub mod image;
pub mod list;
pub mod observe;
pub mod plan;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod signals;
pub mod status;
pub mod validate;

use crate::desired::Desired;
use crate::desired::near;
use crate::exit::Usage;
use crate::names::PoolName;

/// The pools that `--pool` names. One that is not in the desired state is a slip of the pen: it would look like a pool in
/// which there is nothing to do.
fn pools(desired: &Desired, named: &[String]) -> Result<Vec<PoolName>, Usage> {
    let unknown = named.iter().find(|name| !desired.pools.contains_key(name.as_str()));
    match unknown {
        None => Ok(named.iter().map(PoolName::new).collect()),
        Some(name) => {
            let known: Vec<&str> = desired.pools.keys().map(PoolName::as_str).collect();
            let near = near(name, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let near = near.unwrap_or_else(|| format!(" (there are: {})", known.join(", ")));
            Err(Usage(format!("--pool {name}: there is no such pool{near}")))
        }
    }
}
