//! An explanation as a person reads it: state, what is seen, rule, last words, what comes next. Nothing is decided here.

use jiff::{SignedDuration, Timestamp};

use super::explain::{AgentSeen, Explanation, MachineSeen, Next, ServerSeen, Tail};
use super::gaps::gaps_text;
use super::printable::printable;
use super::rule::ago;
use super::style::{Role, Style, wrap};
use crate::desired::units;
use crate::names::{TargetName, short};
use crate::observed::{AgentMark, Computer, Dated, Hold, MachineSight, Marks, ScriptState};
use crate::plan::{Verb, WaitsFor};

/// Columns before the text: two blanks, and the longest label with two behind it.
const INDENT: usize = 11;

pub fn text(explained: &Explanation, now: Timestamp, style: Style) -> String {
    let since = explained.since.map(|at| format!(", since {}", units::short(units::since(at, now)))).unwrap_or_default();
    let state = match explained.state {
        "deleting" => "being deleted",
        "orphan" => "an orphan",
        "not seen" if explained.server.is_some() => "there, and its agent was not seen",
        state => state,
    };
    let gaps = if explained.server.is_none() { gaps_text(&explained.gaps, style) } else { String::new() };
    let mut text = format!("{gaps}{} is {state}{since}\n", printable(&explained.node));
    let mut row = |label: &str, lines: &[String]| {
        for (at, line) in lines.iter().enumerate() {
            push(&mut text, if at == 0 { label } else { "" }, line, style);
        }
    };
    row("seen", &seen(explained, now));
    if let Some(read) = &explained.read {
        row("marks", &[marks(read, now)]);
    }
    row("rule", std::slice::from_ref(&explained.rule));
    if let Some(tail) = &explained.tail {
        row(tail.of, &tail_lines(tail));
    }
    row("next", &next(explained));
    row("see", &explained.see);
    text
}

/// A text below its label, wrapped; words longer than a line are cut into lines.
fn push(text: &mut String, label: &str, line: &str, style: Style) {
    let width = style.width.max(Style::NARROWEST);
    let room = width - INDENT;
    for (at, piece) in wrap(line, width, INDENT, INDENT).iter().flat_map(|line| cut(line, room)).enumerate() {
        let label = if at == 0 { label } else { "" };
        let lead = format!("  {}", style.paint(Role::Dim, label));
        let gap = " ".repeat(INDENT - 2 - label.len().min(INDENT - 3));
        text.push_str(format!("{lead}{gap}{piece}").trim_end());
        text.push('\n');
    }
}

fn cut(line: &str, room: usize) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    characters.chunks(room.max(1)).map(|piece| piece.iter().collect()).collect()
}

fn seen(explained: &Explanation, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(server) = &explained.server {
        lines.push(server_line(server, explained.machine.is_none(), now));
        let fault = server.fault.as_ref().filter(|fault| !fault.is_empty());
        lines.extend(fault.map(|fault| format!("Nova says: {}", printable(fault))));
    }
    let script = if explained.image.is_some() { "setup script" } else { "ready script" };
    lines.extend(explained.machine.as_ref().map(|machine| machine_line(machine, script)));
    if let Some(image) = &explained.image {
        lines.push(format!("builds {image}{}", if explained.wanted { "" } else { ", which is not in the desired state there" }));
        return lines;
    }
    lines.push(agent_line(&explained.agent, now));
    if explained.server.is_some() && !explained.wanted {
        let pool = explained.pool.as_ref().map(|pool| format!(" `{pool}`")).unwrap_or_default();
        lines.push(format!("desired state: no pool{pool}"));
    }
    lines
}

fn server_line(server: &ServerSeen, with_address: bool, now: Timestamp) -> String {
    let mut parts = vec![format!("Nova {} {}", short(server.id.as_str()), server.status)];
    parts.extend(server.task.as_ref().map(|task| format!("task {task}")));
    if server.locked == Some(true) {
        parts.push("locked".to_owned());
    }
    parts.push(format!("created {}", ago(server.created, now)));
    let zone = server.availability_zone.as_ref().map(|zone| format!(" ({zone})")).unwrap_or_default();
    parts.push(format!("in {}{zone}", server.provider));
    parts.push(server.flavor.clone());
    parts.extend(server.image.clone());
    if with_address {
        parts.push(server.address.clone().unwrap_or_else(|| "no address".to_owned()));
    }
    printable(&parts.join(", "))
}

fn machine_line(machine: &MachineSeen, script_is: &str) -> String {
    let at = format!("{}:{}", machine.host, machine.port);
    let text = match &machine.sight {
        Err(gap) => format!("SSH not seen: {} ({})", gap.answered, gap.tried),
        Ok(MachineSight::NoSsh { why }) => format!("no SSH on {at} ({why})"),
        Ok(MachineSight::LoginRefused { why, .. }) => format!("SSH on {at} answers and lets nobody in ({why})"),
        Ok(MachineSight::OtherKey { key }) => {
            format!("SSH on {at} answers with another host key ({}) than the pinned one", key.algorithm())
        }
        Ok(MachineSight::Up { key, facts: None }) => {
            let console = match machine.key_on_console {
                Some(true) => ", its host key is on the console",
                Some(false) => ", its host key is not on the console",
                None => "",
            };
            format!("SSH on {at} answers ({}){console}", key.algorithm())
        }
        Ok(MachineSight::Up { facts: Some(facts), .. }) => {
            let script = match &facts.script {
                ScriptState::NotStarted => "not started".to_owned(),
                ScriptState::Running { seconds, .. } => {
                    let seconds = i64::try_from(*seconds).unwrap_or(i64::MAX);
                    format!("running for {}", units::short(SignedDuration::from_secs(seconds)))
                }
                ScriptState::Passed => "passed".to_owned(),
                ScriptState::Exited { status, .. } => format!("exited {status}"),
                ScriptState::Vanished { .. } => "ended without a status".to_owned(),
            };
            let agent = if facts.agent_running { ", the agent's process runs" } else { "" };
            format!("SSH on {at} answers, {script_is} {script}{agent}")
        }
    };
    printable(&text)
}

fn agent_line(agent: &AgentSeen, now: Timestamp) -> String {
    let named =
        |target: &Option<TargetName>| target.as_ref().map_or_else(|| "Jenkins".to_owned(), |name| format!("Jenkins {name}"));
    let text = match agent {
        AgentSeen::NotSeen { target, gap: Some(gap) } => {
            format!("{} not seen: {} ({})", named(target), gap.answered, gap.tried)
        }
        AgentSeen::NotSeen { target, gap: None } => format!("{}: not in the desired state", named(target)),
        AgentSeen::Absent { target } => format!("{}: no such agent", named(target)),
        AgentSeen::Seen { target, computer } => format!("{}: {}", named(target), computer_text(computer, now)),
    };
    printable(&text)
}

fn computer_text(computer: &Computer, now: Timestamp) -> String {
    let mut parts = vec![if computer.offline { "offline" } else { "online" }.to_owned()];
    if computer.temporarily_offline {
        parts.push("marked offline".to_owned());
    }
    match computer.builds.first() {
        Some(build) => parts.push(format!("runs {}", super::list::job_path(build))),
        None => parts.push(if computer.busy { "busy" } else { "idle" }.to_owned()),
    }
    if let Some(cause) = computer.cause.as_ref().filter(|_| computer.offline) {
        let class = || cause.class.as_deref().map(|class| class.rsplit('.').next().unwrap_or(class).to_owned());
        parts.extend(cause.text().map(|text| format!("`{text}`")).or_else(class));
        parts.extend(cause.since.map(|at| format!("since {}", units::short(units::since(at, now)))));
    }
    parts.join(", ")
}

fn marks(marks: &Marks, now: Timestamp) -> String {
    let Marks { hostkey, agent, busy, used, lost, failed, built, retire, hold, attempt, .. } = marks;
    let dated = |name: &str, mark: &Option<Box<Dated>>| {
        mark.as_deref().map(|Dated { at, text }| match text.as_str() {
            // Of a build only the controller's session is kept.
            text if text.is_empty() || name == "busy" => format!("{name} {}", ago(*at, now)),
            text => format!("{name} {} ({text})", ago(*at, now)),
        })
    };
    let mut parts = vec![match hostkey {
        Some(key) => format!("host key pinned ({})", key.algorithm()),
        None => "no host key pinned".to_owned(),
    }];
    parts.extend(agent.as_ref().map(|agent| match agent {
        AgentMark::Joining(at) => format!("joining {}", ago(*at, now)),
        AgentMark::Joined => "joined".to_owned(),
    }));
    parts.extend(dated("busy", busy));
    parts.extend(dated("used", used));
    parts.extend(lost.map(|at| format!("lost {}", ago(at, now))));
    parts.extend(dated("failed", failed));
    parts.extend(built.map(|at| format!("built {}", ago(at, now))));
    parts.extend(retire.as_ref().map(|why| format!("retire ({why})")));
    parts.extend(hold.as_deref().map(hold_text));
    if *attempt > 1 {
        parts.push(format!("try {attempt}"));
    }
    printable(&parts.join(", "))
}

fn hold_text(hold: &Hold) -> String {
    let Hold { who, until, why } = hold;
    let until = until.map(|until| format!(" until {}", until.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    format!("hold by {who}{until}{why}")
}

fn tail_lines(tail: &Tail) -> Vec<String> {
    match &tail.gap {
        Some(gap) => vec![printable(&format!("not seen: {} ({})", gap.answered, gap.tried))],
        None => tail.lines.clone(),
    }
}

fn next(explained: &Explanation) -> Vec<String> {
    let lines = match &explained.next {
        Next::Nothing if explained.state == "ready" && explained.wanted => {
            vec!["takes the next build that Jenkins gives it".to_owned()]
        }
        Next::Nothing => vec!["nothing is planned for it".to_owned()],
        Next::Chain { verb, because, acts: _, words } => {
            vec![format!("{}: {because}", by_next_run(*verb)), format!("its steps: {}", words.join("; "))]
        }
        Next::Waits { waits_for, refusals, held_by } => {
            let failed = explained.state == "failed";
            // Of a failed node it is not its own agent: it is the mark of back-off while a newer one is tried.
            let newer = failed && *waits_for == WaitsFor::Online;
            let what = if newer { "a newer node to come online".to_owned() } else { waits_for.to_string() };
            let mut lines = vec![format!("waits for {what}")];
            for refusal in refusals {
                lines.push(refusal.to_string());
                lines.push(refusal.meaning());
            }
            lines.extend(held_by.as_ref().map(|held_by| format!("which waits for {held_by}")));
            if held_by.is_none() && matches!(waits_for, WaitsFor::TryDue { .. }) {
                lines.push("the next run begins it".to_owned());
            }
            lines.extend(then(waits_for, explained.image.is_some()).map(str::to_owned));
            lines
        }
    };
    lines.iter().map(|line| printable(line)).collect()
}

fn by_next_run(verb: Verb) -> &'static str {
    match verb {
        Verb::Delete => "the next run deletes it",
        Verb::Retire => "the next run begins its removal, and looks again before it deletes anything",
        Verb::Mark => "the next run notes it",
        Verb::Boot => "the next run goes on",
        Verb::Create => "the next run creates it",
    }
}

/// What follows once that has come, or what else ends the wait.
fn then(waits_for: &WaitsFor, of_builder: bool) -> Option<&'static str> {
    match waits_for {
        WaitsFor::Boot => Some("then SSH is looked for; failed after launch-timeout"),
        WaitsFor::Port => Some("then its floating IP is created; failed after boot-timeout"),
        WaitsFor::Ssh if of_builder => Some("then its host key is pinned and its setup script starts; failed after boot-timeout"),
        WaitsFor::Ssh => Some("then its host key is pinned and its ready script starts; failed after boot-timeout"),
        WaitsFor::Script => Some("then its agent is registered; failed after ready-timeout"),
        WaitsFor::Online => Some("then it is ready; failed after online-timeout"),
        WaitsFor::Build => Some("then it is used and deleted, or ready again where a node is not for a single use"),
        WaitsFor::Person(_) => Some("kept meanwhile, and counted as no ready node"),
        WaitsFor::Deletion => Some("nothing is left to do here"),
        WaitsFor::StuckTask { .. } => {
            Some("an admin's `openstack server set --state active` ends it where its host has forgotten it")
        }
        WaitsFor::StuckDeletion { .. } => Some("its host may be down: `openstack server show` and Nova's own logs tell more"),
        WaitsFor::LaterPass => Some("nothing goes on before that: what Jenkins or Nova shows may be a moment old"),
        WaitsFor::Return { .. } => Some("then it is what it was before; else given up: used after a build, failed without one"),
        WaitsFor::Resume { .. } => Some("then its build runs on; else it is deleted as used"),
        WaitsFor::Gap(_) => Some("nothing that depends on it is done meanwhile"),
        WaitsFor::Try { .. } => Some("then this one, the mark of back-off, is deleted"),
        WaitsFor::BackOff { .. } | WaitsFor::TryDue { .. } => {
            Some("kept as the mark of back-off; deleted once a newer node is ready")
        }
        WaitsFor::Replacement(_) => Some("then it is deleted"),
        WaitsFor::NewSnapshot { .. } => {
            Some("then it is replaced by one from it; else, should that build fail, from the snapshot before")
        }
        WaitsFor::Setup => Some("then it is cleaned and switched off; failed after setup-timeout"),
        WaitsFor::Off => Some("then its image is made; failed after boot-timeout"),
        WaitsFor::Saving => Some("then nodes may boot from it, and it is deleted; failed after setup-timeout"),
        WaitsFor::SavedAgain => Some("Glance may have no room: it is tried once a run, and failed after setup-timeout"),
        WaitsFor::LetGo { .. } => Some("kept while something is cloned from it: a server, or a volume"),
        WaitsFor::Paused(_)
        | WaitsFor::PoolFull { .. }
        | WaitsFor::ProviderFull { .. }
        | WaitsFor::LaunchesAtATime { .. }
        | WaitsFor::LaunchesPerRun { .. }
        | WaitsFor::Quota(_)
        | WaitsFor::BeyondQuota { .. }
        | WaitsFor::NoImage { .. }
        | WaitsFor::SeveralOwners { .. }
        | WaitsFor::NoSnapshot { .. }
        | WaitsFor::BadInputs { .. }
        | WaitsFor::OtherBuild(_)
        | WaitsFor::KeptForBuild(_)
        | WaitsFor::NoFlavor { .. }
        | WaitsFor::NoNetwork { .. }
        | WaitsFor::Refused(_)
        | WaitsFor::Limit
        | WaitsFor::NextPass => None,
    }
}
