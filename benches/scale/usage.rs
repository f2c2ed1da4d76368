//! What a process took of the machine, by the kernel's own account. What is measured is the other files' business.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::resource::{Usage as Counters, UsageWho, getrusage};

/// The first argument that makes this program start another one and print what it took.
pub(crate) const MEASURE: &str = "--measure";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// User and system.
    pub(crate) cpu_ms: f64,
    pub(crate) peak_mib: f64,
}

/// Runs a command to its end in a process of its own. A process's peak is not below that of the one it was started from (the
/// kernel keeps the larger one at exec), so that a process which has done nothing else starts it: this program, anew.
pub(crate) fn of(command: &Command) -> Usage {
    let mut measuring = Command::new(std::env::current_exe().expect("this program"));
    measuring.arg(MEASURE).arg(command.get_program()).args(command.get_args()).env_clear();
    measuring.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = measuring.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("this program starts");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    let [cpu_ms, peak_mib] = numbers(&String::from_utf8_lossy(&output.stdout));
    Usage { cpu_ms, peak_mib }
}

/// Numbers of one line.
pub(crate) fn numbers<const N: usize>(line: &str) -> [f64; N] {
    let numbers: Vec<f64> = line.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("so many numbers")
}

/// The other side of `of`: prints milliseconds and MiB.
pub(crate) fn measure(program: &Path, arguments: &[String]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().expect("the program starts");
    assert!(status.success(), "{} {arguments:?}: {status}", program.display());
    let children = counters(UsageWho::RUSAGE_CHILDREN);
    println!("{} {}", cpu_ms(&children), mib(children.max_rss()));
}

/// CPU time of this process so far.
pub(crate) fn own_cpu_ms() -> f64 {
    cpu_ms(&counters(UsageWho::RUSAGE_SELF))
}

/// The most that this process ever had in memory. `VmHWM` begins anew at exec.
pub(crate) fn own_peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    mib(line.trim().trim_end_matches(" kB").parse().expect("a number"))
}

fn counters(who: UsageWho) -> Counters {
    getrusage(who).expect("the kernel's counters")
}

fn cpu_ms(counters: &Counters) -> f64 {
    let (user, system) = (counters.user_time(), counters.system_time());
    [user, system]
        .map(|time| f64::from(i32::try_from(time.tv_sec()).expect("hours")) * 1e3 + time.tv_usec() as f64 / 1e3)
        .iter()
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "a process has less than 2^52 KiB")]
fn mib(kib: i64) -> f64 {
    kib as f64 / 1024.0
}
