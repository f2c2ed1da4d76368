//! The table of states, a line for each row and each alternative inside it; and which row wins where two fit.

mod seen;

use std::collections::BTreeSet;

use seen::{about, state_of};

/// Name (for the pairs below; none: an alternative of the row above), what is seen, the state. In the table's order.
/// Unsaid: ACTIVE for a minute, one pool of two with single use, its target seen without an agent of that name.
const ROWS: &[(&str, &str, &str)] = &[
    // Nova is at it.
    ("deleting", "task=deleting", "deleting"),
    ("", "task=soft-deleting", "deleting"),
    ("", "DELETED", "deleting"),
    ("", "SOFT_DELETED", "deleting"),
    // A build runs.
    ("busy", "joined agent=online,busy", "busy"),
    ("", "joined agent=busy,temp,gearman", "busy"),
    ("", "joined agent=busy,temp,ours", "busy"),
    ("", "joined agent=busy,temp,person", "busy"),
    ("", "joined agent=busy,temp,monitor", "busy"),
    ("", "joining=2m agent=online,busy", "busy"),
    ("", "unregistered agent=online,busy", "busy"),
    ("", "joined agent=busy,temp,gearman lost=11m", "busy"),
    ("", "joined agent=busy,temp,bare lost=11m", "busy"),
    // Its channel is lost.
    ("busy lost", "joined agent=offline,busy,channel lost=5m", "busy"),
    ("", "joined agent=offline,busy", "busy"),
    ("", "joined agent=offline,busy,restart", "busy"),
    ("", "joined agent=temp,busy,channel", "busy"),
    ("", "joined agent=offline,busy,channel lost=11m", "failed: agent lost for longer than lost-grace"),
    ("", "joined agent=offline,busy,restart lost=11m", "failed: agent lost for longer than lost-grace"),
    ("", "joined agent=offline,busy,bare lost=11m busy", "used: seen busy, now idle"),
    ("", "joined agent=temp,busy,channel lost=11m busy", "used: seen busy, now idle"),
    // A person has it.
    ("held", "hold", "held: held by alice: look"),
    ("locked", "locked hold=none", "held: locked in Nova"),
    ("", "locked hold", "held: held by alice: look"),
    ("hold over", "hold=over", "hold over"),
    ("", "locked hold=over", "hold over"),
    // It only goes down.
    ("retiring", "retire", "retiring: surplus"),
    // Ours, and nobody knows what for.
    ("no pool", "pool=none", "kept: no pool"),
    // BUILD.
    ("launching", "BUILD age=1m", "launching"),
    ("", "BUILD age=14m", "launching"),
    ("not active", "BUILD age=16m", "failed: not ACTIVE within 15m"),
    // Failed.
    ("failed", "failed", "failed: it broke"),
    ("error", "ERROR", "failed: ERROR: No valid host"),
    ("other key", "pinned ssh=other-key", "failed: another SSH host key than the pinned one"),
    ("", "pinned joining=1m agent=offline ssh=other-key", "failed: another SSH host key than the pinned one"),
    // Not running.
    ("stopped", "SHUTOFF", "lost: to be marked"),
    ("", "PAUSED joined", "lost: to be marked"),
    ("", "SUSPENDED joined agent=online", "lost: to be marked"),
    ("", "SHUTOFF lost=5m", "lost: 5m left"),
    ("", "SHUTOFF lost=11m", "failed: agent lost for longer than lost-grace"),
    ("", "SHUTOFF lost=11m used", "used: build"),
    ("", "SHUTOFF lost=11m busy", "used: seen busy, now idle"),
    ("", "SHUTOFF lost=11m joined agent=temp,gearman", "used: `Offline due to Gearman request`"),
    ("", "SHUTOFF lost=11m joined mass", "mass offline"),
    ("odd status", "SHELVED_OFFLOADED", "kept: SHELVED_OFFLOADED"),
    ("", "UNKNOWN", "kept: UNKNOWN"),
    ("", "MIGRATING", "kept: MIGRATING"),
    // No script was started, and no agent registered.
    ("booting", "unregistered ssh=none age=1m", "booting"),
    ("", "unregistered", "booting"),
    ("", "unregistered ssh=gap age=20m", "booting"),
    ("", "unregistered ssh=refused", "booting"),
    ("", "unregistered address=none", "booting"),
    ("", "unregistered ssh=unpinned console=key", "booting: up"),
    ("", "unregistered ssh=unpinned console=key age=20m", "booting: up"),
    ("", "unregistered ssh=unpinned console=other", "booting"),
    ("", "unregistered ssh=unpinned console=gap age=20m", "booting"),
    ("", "unregistered ssh=unpinned host-keys=first-use", "booting: up"),
    ("", "unregistered pinned script=none", "booting: up"),
    ("", "unregistered pinned script=none age=20m", "booting: up"),
    ("", "unregistered pool=removed", "retiring: its pool was removed"),
    ("no ssh", "unregistered ssh=none age=6m", "failed: no SSH within 5m (port 22: connection refused)"),
    ("", "unregistered ssh=refused age=6m", "failed: no SSH within 5m (port 22: permission denied)"),
    ("", "unregistered address=none age=6m", "failed: no SSH within 5m (Nova shows no address to reach it at)"),
    ("", "unregistered ssh=unpinned console=empty age=6m", "failed: host key not on the console within 5m"),
    ("", "unregistered ssh=unpinned console=other age=6m", "failed: host key not on the console within 5m"),
    // Its script.
    ("script runs", "unregistered pinned script=running:1m", "preparing"),
    ("", "unregistered pinned script=running:10m age=40m", "preparing"),
    ("", "unregistered pinned ssh=none age=14m", "preparing"),
    ("", "unregistered pinned ssh=refused age=14m", "preparing"),
    ("script too long", "unregistered pinned script=running:11m", "failed: ready script not over within 10m: E: no space"),
    ("no ssh again", "unregistered pinned ssh=none age=16m", "failed: no SSH within 15m (port 22: connection refused)"),
    ("script failed", "unregistered pinned script=exit:3", "failed: ready script exited 3: E: no space"),
    ("script vanished", "unregistered pinned script=vanished", "failed: ready script ended without a status"),
    ("script passed", "unregistered pinned script=passed", "registering"),
    ("", "joining=1m agent=none", "registering"),
    ("", "joining=30m agent=none", "registering"),
    ("", "joining=30m agent=none busy", "registering"),
    // Registered, and never online.
    ("joining", "joining=1m agent=offline", "joining"),
    ("", "joining=1m agent=offline,launch", "joining"),
    ("", "joining=1m agent=offline pinned script=passed:agent", "joining"),
    ("", "joining=1m agent=offline pinned script=passed", "joining: its agent is to be started"),
    ("", "joining=6m agent=offline mass", "mass offline"),
    ("not online", "joining=6m agent=offline", "failed: agent not online within 5m"),
    ("", "joining=6m agent=offline,restart", "failed: agent not online within 5m"),
    // It was online once, and its agent is gone.
    ("orphan", "joined agent=none", "orphan"),
    ("", "joined agent=none mass", "mass offline"),
    ("", "joined agent=none mass used", "orphan"),
    // Its build may go on: the controller was started anew since it was seen busy.
    ("resuming", "joined agent=online busy session=5d2a queue=names-it", "resuming"),
    ("", "joined agent=online busy session=5d2a", "resuming"),
    ("", "joined agent=online busy session=5d2a used", "resuming"),
    ("", "joined agent=online busy session=5d2a queue=empty", "used: seen busy, now idle"),
    ("", "joined agent=online busy session=none", "used: seen busy, now idle"),
    ("", "joined agent=online busy session=5d2a queue=names-it used=11m", "used: build"),
    ("", "joined agent=none busy session=5d2a", "orphan"),
    // Used.
    ("used", "joined agent=online used", "used: build"),
    ("", "joined agent=offline used", "used: build"),
    ("", "joined agent=offline used mass", "used: build"),
    ("", "joined agent=temp,person used", "used: build"),
    ("", "joined agent=temp,channel used", "used: build"),
    ("by gearman", "joined agent=temp,gearman", "used: `Offline due to Gearman request`"),
    ("", "joined agent=temp,gearman-of-old", "used: `Offline due to Gearman request`"),
    ("", "joined agent=temp,gearman mass", "used: `Offline due to Gearman request`"),
    ("", "joining=1m agent=temp,gearman", "used: `Offline due to Gearman request`"),
    ("", "unregistered agent=temp,gearman", "used: `Offline due to Gearman request`"),
    ("", "joined agent=temp,gearman used-when=", "kept: by a person: Offline due to Gearman request"),
    ("by us", "joined agent=temp,ours", "used: marked at the sight of its build"),
    ("by message", "joined agent=temp,cli used-when=message", "used: `T143938`"),
    ("", "joined agent=temp,person used-when=message", "kept: by a person: disk full"),
    ("seen busy", "joined agent=online busy", "used: seen busy, now idle"),
    ("", "joined agent=online busy single-use=no", "ready"),
    ("worked in", "joined agent=online workspace=used", "used: something is in its workspace"),
    ("", "joined agent=online workspace=empty", "ready"),
    ("", "joined agent=online workspace=used single-use=no", "ready"),
    // Taken offline by a monitor.
    ("monitor", "joined agent=temp,monitor", "failed: taken offline by DiskSpaceMonitorDescriptor"),
    ("", "joined agent=temp,monitor busy", "used: taken offline by DiskSpaceMonitorDescriptor"),
    ("", "joined agent=temp,monitor mass", "mass offline"),
    // Taken offline by a person.
    ("person", "joined agent=temp,person", "kept: by a person: disk full"),
    ("", "joined agent=temp,cli", "kept: by a person: T143938"),
    ("", "joined agent=temp", "kept: by a person: marked offline without a reason"),
    ("", "joined agent=temp,person busy", "kept: by a person: disk full"),
    ("", "joined agent=temp,person mass", "kept: by a person: disk full"),
    ("", "joining=6m agent=temp,person", "kept: by a person: disk full"),
    // Offline, and nobody said so.
    ("lost", "joined agent=offline", "lost: to be marked"),
    ("", "joined agent=offline,channel", "lost: to be marked"),
    ("", "joined agent=offline,launch", "lost: to be marked"),
    ("", "joined agent=offline,restart", "lost: to be marked"),
    ("", "joined agent=temp,channel", "lost: to be marked"),
    ("", "joined agent=temp,bare", "lost: to be marked"),
    ("", "unregistered agent=offline", "lost: to be marked"),
    ("", "joined agent=offline lost=5m", "lost: 5m left"),
    ("", "joined agent=offline lost=11m", "failed: agent lost for longer than lost-grace"),
    ("", "joined agent=offline lost=11m busy", "used: seen busy, now idle"),
    ("", "joined agent=offline lost=11m mass", "mass offline"),
    ("", "joined agent=offline mass", "mass offline"),
    // Online and idle.
    ("ready", "joined agent=online", "ready"),
    ("", "joined agent=online lost=11m", "ready"),
    ("", "joining=1m agent=online", "ready"),
    ("", "unregistered agent=online", "ready"),
    ("", "joined agent=online mass", "ready"),
    // Behind a target that is a gap its marks tell.
    ("", "agent=gap joined", "not seen"),
    ("", "agent=gap joined lost=11m", "not seen"),
    ("", "agent=gap joined busy", "not seen"),
    ("", "agent=gap joined used", "used: build"),
    ("", "agent=gap joining=30m", "joining"),
    ("", "agent=gap joining=30m used", "used: build"),
    ("", "agent=gap unregistered ssh=none", "booting"),
    ("", "agent=gap unregistered ssh=none age=6m", "failed: no SSH within 5m (port 22: connection refused)"),
    ("", "agent=gap unregistered pinned script=passed", "registering"),
    ("", "agent=gap joined retire", "retiring: surplus"),
    ("", "agent=gap joined failed", "failed: it broke"),
    ("", "agent=gap joined hold", "held: held by alice: look"),
    ("", "agent=gap joined SHUTOFF", "lost: to be marked"),
    ("", "agent=gap joined SHUTOFF lost=11m", "lost: its target is a gap"),
    ("", "agent=gap joined SHUTOFF lost=11m used", "lost: its target is a gap"),
    ("", "agent=gap joined ERROR", "failed: ERROR: No valid host"),
    ("", "agent=gap BUILD", "launching"),
];

#[test]
fn each_row_has_its_state() {
    let wrong: Vec<String> = ROWS
        .iter()
        .filter(|(_, seen, expected)| state_of(seen) != *expected)
        .map(|(_, seen, expected)| format!("{seen}: {} instead of {expected}", state_of(seen)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A row, and every later one that can be seen at the same time (`a..b`: from a to b in the table's order): the earlier wins.
const WINS: &[(&str, &str)] = &[
    ("deleting", "busy..ready"),
    ("busy", "held..odd status"),
    ("busy lost", "held..odd status"),
    ("held", "retiring..ready"),
    ("locked", "retiring..ready"),
    ("hold over", "retiring..ready"),
    ("retiring", "no pool..ready"),
    ("no pool", "launching..ready"),
    ("launching", "failed, other key, booting, script runs, script too long, script failed..ready"),
    ("not active", "failed, other key, script runs..ready"),
    ("failed", "error..ready"),
    ("error", "other key, booting..ready"),
    ("other key", "stopped, odd status, joining..seen busy, monitor..ready"),
    ("stopped", "booting..ready"),
    ("odd status", "booting..ready"),
    ("resuming", "used, seen busy, worked in, ready"),
    ("used", "seen busy, worked in, ready"),
    ("seen busy", "worked in, ready"),
    ("worked in", "ready"),
];

/// The rows that a list of `WINS` names.
fn expand<'a>(list: &str, rows: &[&'a str]) -> Vec<&'a str> {
    let at = |name: &str| rows.iter().position(|row| *row == name).unwrap_or_else(|| panic!("`{name}` is no row"));
    let parts = list.split(", ").filter(|part| !part.is_empty()).map(|part| part.split_once("..").unwrap_or((part, part)));
    parts.flat_map(|(from, to)| rows.iter().take(at(to) + 1).skip(at(from))).copied().collect()
}

/// What two rows show together; none when they contradict each other.
fn both(earlier: &str, later: &str) -> Option<String> {
    let known: BTreeSet<&str> = earlier.split_whitespace().map(about).collect();
    let more: Vec<&str> = later.split_whitespace().filter(|word| !earlier.split_whitespace().any(|same| same == *word)).collect();
    if more.iter().any(|word| known.contains(about(word))) {
        return None;
    }
    Some(format!("{earlier} {}", more.join(" ")))
}

#[test]
fn the_earlier_of_two_rows_wins() {
    let named: Vec<_> = ROWS.iter().filter(|(name, ..)| !name.is_empty()).collect();
    let rows: Vec<&str> = named.iter().map(|(name, ..)| *name).collect();
    let mut wrong = Vec::new();
    for (at, (name, seen, state)) in named.iter().enumerate() {
        let fitting = named.iter().skip(at + 1).filter_map(|(later, more, _)| Some((*later, both(seen, more)?)));
        let (names, pairs): (Vec<&str>, Vec<String>) = fitting.unzip();
        let listed = WINS.iter().find(|(earlier, _)| earlier == name).map_or("", |(_, later)| later);
        if names != expand(listed, &rows) {
            wrong.push(format!("{name}: can be seen with {names:?}"));
        }
        let losing = pairs.iter().filter(|pair| state_of(pair) != *state);
        wrong.extend(losing.map(|pair| format!("{pair}: {} instead of {state}", state_of(pair))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
