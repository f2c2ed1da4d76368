//! An idle run of the program against the sandbox on loopback: its calls, connections, CPU time and memory, with one pool and
//! with fifty; and how long `--version` takes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figures::{Figure, largest, median};
use crate::served::{Calls, Served, Shape};
use crate::usage;

const RUNS: usize = 15;

/// A start takes milliseconds: its median needs more runs.
const STARTS: usize = 101;

/// Peak memory of an idle run.
const MEMORY_MIB: f64 = 16.0;

const VERSION_MS: f64 = 10.0;

struct Idle {
    calls: Calls,
    connections: u64,
    cpu_ms: f64,
    peak_mib: f64,
}

pub(crate) fn figures(program: &Path) -> Vec<Figure> {
    let (one, fifty) = (idle(program, 1, true), idle(program, 50, true));
    let without_certificates = idle(program, 1, false);
    let mut figures = vec![Figure::new("`--version`, from start to end", version_ms(program), "ms", Some(VERSION_MS))];
    for (pools, idle) in [("1 pool", &one), ("50 pools", &fifty)] {
        // Servers, our images, images by name; the list of agents.
        let calls = idle.calls.iter().zip([("a target", 1.0), ("a provider", 3.0)]);
        figures.extend(calls.map(|((_, calls), (whose, target))| {
            Figure::new(format!("idle `apply`, {pools}: HTTP calls to {whose}"), *calls as f64, "", Some(target))
        }));
        figures.push(Figure::new(format!("idle `apply`, {pools}: TCP connections"), idle.connections as f64, "", None));
        figures.push(Figure::new(format!("idle `apply`, {pools}: CPU"), idle.cpu_ms, "ms", None));
        figures.push(Figure::new(format!("idle `apply`, {pools}: peak memory"), idle.peak_mib, "MiB", Some(MEMORY_MIB)));
    }
    figures.push(Figure::new("50 pools against 1: CPU", fifty.cpu_ms / one.cpu_ms, "times", None));
    let certificates = one.cpu_ms - without_certificates.cpu_ms;
    figures.push(Figure::new("of it the system's certificates: CPU", certificates, "ms", None));
    figures
}

/// One provider and one target, everything ready, the token kept by an earlier run.
fn idle(program: &Path, pools: usize, certificates: bool) -> Idle {
    let served = Served::new(Shape { providers: 1, targets: 1, pools, min_ready: 1 });
    served.converge();
    let command = command(&served, program, certificates);
    usage::of(&command);
    let before = served.http.connections();
    let (calls, _) = served.recorded(|| usage::of(&command));
    let connections = served.http.connections() - before;
    let runs: Vec<_> = (0..RUNS).map(|_| usage::of(&command)).collect();
    let cpu_ms = median(runs.iter().map(|run| run.cpu_ms).collect());
    let peak_mib = largest(&runs.iter().map(|run| run.peak_mib).collect::<Vec<_>>());
    Idle { calls, connections, cpu_ms, peak_mib }
}

fn command(served: &Served, program: &Path, certificates: bool) -> Command {
    let of_tests = served.poolkeeper(&["apply", "--yes"]);
    let mut command = Command::new(program);
    command.args(of_tests.get_args()).envs(of_tests.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if certificates {
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    }
    command
}

fn version_ms(program: &Path) -> f64 {
    let start = || {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        #[expect(clippy::disallowed_methods, reason = "a measurement is about time")]
        let before = Instant::now();
        let status = command.status().expect("the program starts");
        assert!(status.success(), "--version: {status}");
        before.elapsed().as_secs_f64() * 1e3
    };
    median((0..STARTS).map(|_| start()).collect())
}
