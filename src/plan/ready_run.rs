//! What names a ready script's run on a machine: the digest of everything that it runs with.

use crate::desired::{Digest, Pool};

/// Of the script directory and the script's name; the same for every launch of an unchanged pool.
pub fn digest(pool: &Pool) -> Digest {
    let scripts = pool.scripts.as_ref().map(|scripts| scripts.digest());
    let scripts = scripts.as_ref().map_or("", Digest::as_str);
    Digest::of(&["ready", scripts, pool.ready_script.as_deref().unwrap_or_default()])
}
