//! A program of somebody else's in a process group of its own: told to end with all that it has started, waited for, killed last.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, test_kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::settings::now;

/// A terminal that is closed, or whose Ctrl-C reaches this process alone, ends the program too.
const SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// From SIGTERM to SIGKILL. What has mounts takes them down in its own trap, two times 120 seconds at worst where
/// diskimage-builder does so; a kill leaves them.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Signals within this time of the first are the same one.
const BURST: SignedDuration = SignedDuration::from_secs(2);

/// How often it is looked whether the rest of the group is gone; after how many looks it is told to end, too: a filter has last
/// lines to print; and how many at most come after a kill: a process that sleeps in the kernel goes late.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_BEFORE_A_WORD: u32 = 20;
const LOOKS_AFTER_A_KILL: u32 = 50;

/// What became of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub status: ExitStatus,
    pub by: By,
    /// The numbers of those of its group that go on: of a user that we may not signal, or asleep in the kernel.
    pub left: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Itself,
    /// We were told to end; nothing of the group is left.
    Signal,
    /// The same, and it did not end by itself.
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Signal,
    Ended,
}

/// Catches the signals while it is there: the default actions are back when it is dropped.
#[derive(Debug)]
pub struct Watch {
    over: Arc<AtomicBool>,
    events: Receiver<Event>,
    send: Sender<Event>,
}

impl Watch {
    /// Before the program is started: no signal comes in between.
    pub fn start() -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (mut woken, wakes) = UnixStream::pair()?;
        for signal in SIGNALS.into_iter().filter(|signal| !ignored(*signal)) {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&over))?;
            signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?;
        }
        let (send, events) = mpsc::channel();
        let signals = send.clone();
        std::thread::spawn(move || while woken.read_exact(&mut [0]).is_ok() && signals.send(Event::Signal).is_ok() {});
        Ok(Self { over, events, send })
    }
}

/// What is done before a signal ends this process, while it is there: then the signal has its default action, as without it.
#[derive(Debug)]
pub struct CutOff {
    over: Arc<AtomicBool>,
}

impl CutOff {
    pub fn start(clean_up: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let which = Arc::new(AtomicUsize::new(0));
        let (mut woken, wakes) = UnixStream::pair()?;
        for signal in SIGNALS.into_iter().filter(|signal| !ignored(*signal)) {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&over))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&which), signal.unsigned_abs() as usize)?;
            signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?;
        }
        std::thread::spawn(move || {
            if woken.read_exact(&mut [0]).is_ok() {
                clean_up();
                let signal = i32::try_from(which.load(Ordering::SeqCst)).unwrap_or(SIGTERM);
                // It does not come back.
                drop(signal_hook::low_level::emulate_default_handler(signal));
            }
        });
        Ok(Self { over })
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// As `nohup` has it of SIGHUP. Not told where there is no /proc.
fn ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal - 1) & 1 == 1
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// So that no signal of a terminal reaches it but through us.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    command.process_group(0).spawn()
}

/// `name`: the program's, for the person who waits. `filter`, in a command line of the group: that process goes on at first. What
/// the program says goes through it, and a program that cannot say what it cleans up does not clean up.
pub fn wait(child: &mut Child, name: &str, filter: &str, watch: &Watch) -> io::Result<Ended> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let ended = watch.send.clone();
    std::thread::spawn(move || {
        // Not reaped here: until it is, its number is nobody else's.
        while matches!(waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT), Err(Errno::INTR)) {}
        let _nobody_waits_any_more = ended.send(Event::Ended);
    });
    let mut end = End { group, name, filter, until: None, told: None, by: By::Itself };
    loop {
        match end.next(watch) {
            Some(Event::Signal) => end.signalled(),
            Some(Event::Ended) => break,
            None => end.kill(),
        }
    }
    let status = child.wait()?;
    if end.by != By::Itself {
        end.rest(watch);
    }
    let left = if end.by == By::Itself { Vec::new() } else { alive(group).map(Member::number).collect() };
    Ok(Ended { status, by: end.by, left })
}

struct End<'a> {
    group: Pid,
    name: &'a str,
    filter: &'a str,
    /// Of our patience.
    until: Option<Timestamp>,
    /// When the first signal came.
    told: Option<Timestamp>,
    by: By,
}

impl End<'_> {
    /// None: patience is over.
    fn next(&self, watch: &Watch) -> Option<Event> {
        match self.until {
            None => watch.events.recv().ok(),
            Some(until) => watch.events.recv_timeout(until.duration_since(now()).try_into().unwrap_or_default()).ok(),
        }
    }

    fn signalled(&mut self) {
        if self.by != By::Itself {
            // `timeout` and shells at a hang-up signal twice at once.
            let told = self.told.is_some_and(|told| now().duration_since(told) >= BURST);
            if told {
                self.kill();
            }
            return;
        }
        self.told = Some(now());
        self.by = By::Signal;
        self.until = now().checked_add(PATIENCE).ok();
        say(&format!("stopping: {} is told to end, and cleans up; once more kills it, and leaves its mounts", self.name));
        let members: Vec<Member> = members(self.group).collect();
        if members.is_empty() {
            // No /proc to see them in.
            said(kill_process_group(self.group, Signal::TERM));
        }
        let told = members.iter().filter(|member| !member.runs(self.filter));
        let results: Vec<_> = told.map(|member| kill_process(member.0, Signal::TERM)).collect();
        let refused = results.iter().filter(|result| **result == Err(Errno::PERM)).count();
        results.into_iter().for_each(said);
        if let Some(words) = beyond_us(refused) {
            say(&words);
        }
    }

    fn kill(&mut self) {
        self.by = By::Kill;
        self.until = None;
        said(kill_process_group(self.group, Signal::KILL));
    }

    /// What the program had started and left to itself.
    fn rest(&mut self, watch: &Watch) {
        let (mut looks, mut after_a_kill) = (0, 0);
        while is_there(self.group) && after_a_kill < LOOKS_AFTER_A_KILL {
            match watch.events.recv_timeout(LOOK) {
                Ok(Event::Signal) => self.signalled(),
                Ok(Event::Ended) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.until.is_some_and(|until| until <= now()) {
                self.kill();
            }
            if looks == LOOKS_BEFORE_A_WORD {
                said(kill_process_group(self.group, Signal::TERM));
            }
            looks += 1;
            after_a_kill += u32::from(self.by == By::Kill);
        }
    }
}

/// Not by a `sudo kill` of ours: a number that is somebody else's by then would be killed with root's rights.
fn beyond_us(refused: usize) -> Option<String> {
    let (are, them) = match refused {
        0 => return None,
        1 => ("process of it runs", "it"),
        _ => ("processes of it run", "them"),
    };
    Some(format!("stopping: {refused} {are} as root, by sudo: no signal of ours reaches {them}; the end of {them} is waited for"))
}

/// Whether anything of a group still runs. What has ended and was never fetched, in a container whose first process fetches
/// nobody, is there for ever, and does nothing any more.
fn is_there(group: Pid) -> bool {
    // None seen of a group that is there, or none of others: no /proc, or it hides what is not our user's (`hidepid`), as what
    // sudo started.
    let believed = || members(group).next().is_some() && fs::read("/proc/1/stat").is_ok();
    test_kill_process_group(group) != Err(Errno::SRCH) && (alive(group).next().is_some() || !believed())
}

fn alive(group: Pid) -> impl Iterator<Item = Member> {
    members(group).filter(|member| !member.has_ended())
}

/// A process that is gone needs no word.
fn said(result: rustix::io::Result<()>) {
    if let Err(error) = result {
        tracing::info!(%error, "a signal did not arrive");
    }
}

#[derive(Debug, Clone, Copy)]
struct Member(Pid);

/// Those of a process group, one by one.
fn members(group: Pid) -> impl Iterator<Item = Member> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).map(Member).filter(move |member| member.group() == Some(group))
}

impl Member {
    fn number(self) -> String {
        self.0.as_raw_nonzero().to_string()
    }

    /// Of `PID (NAME) STATE PARENT GROUP ...`, the nth word behind the name, which may have anything in it.
    fn stat(self, nth: usize) -> Option<String> {
        let about = fs::read_to_string(format!("/proc/{}/stat", self.number())).ok()?;
        let (_, after_the_name) = about.rsplit_once(')')?;
        after_the_name.split_whitespace().nth(nth).map(str::to_owned)
    }

    fn group(self) -> Option<Pid> {
        Pid::from_raw(self.stat(2)?.parse().ok()?)
    }

    /// A zombie, or gone.
    fn has_ended(self) -> bool {
        self.stat(0).is_none_or(|state| matches!(state.as_str(), "Z" | "X"))
    }

    fn runs(self, word: &str) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.number())).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    }
}

/// To standard error; a closed one is nobody's loss.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in a container whose first process fetches nobody: this process is the parent, and does not.
    #[test]
    fn what_has_ended_and_was_never_fetched_is_not_waited_for() {
        let mut leader = spawn(Command::new("sleep").arg("60")).expect("a program");
        let group = Pid::from_raw(i32::try_from(leader.id()).expect("a number")).expect("a process");
        let mut other = Command::new("true").process_group(group.as_raw_nonzero().get()).spawn().expect("another of its group");
        let other_pid = Pid::from_raw(i32::try_from(other.id()).expect("a number")).expect("a process");
        waitid(WaitId::Pid(other_pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("its end");
        assert!(is_there(group), "the leader runs");
        leader.kill().expect("a signal");
        leader.wait().expect("its end");
        assert_eq!(test_kill_process_group(group), Ok(()), "the other one is there, as a zombie");
        assert!(!is_there(group));
        let (send, events) = mpsc::channel();
        let watch = Watch { over: Arc::default(), events, send };
        let until = now().checked_add(SignedDuration::from_secs(1)).ok();
        let mut end = End { group, name: "sleep", filter: "no filter", until, told: Some(now()), by: By::Signal };
        end.rest(&watch);
        assert_eq!(end.by, By::Signal, "nothing was left to be killed");
        other.wait().expect("its end");
    }

    #[test]
    fn what_no_signal_reaches_is_said() {
        assert_eq!(beyond_us(0), None);
        let two =
            "stopping: 2 processes of it run as root, by sudo: no signal of ours reaches them; the end of them is waited for";
        assert_eq!(beyond_us(2).as_deref(), Some(two));
    }
}
