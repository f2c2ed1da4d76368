//! The process: TLS provider, log, the error chain once with its hint, the exit code. Nothing else.

use std::io::{self, Write};
use std::process::ExitCode;

use poolkeeper::cli::Cli;
use poolkeeper::commands::image::Undone;
use poolkeeper::exit::{self, Usage};
use poolkeeper::load::LoadError;
use poolkeeper::lock::LockError;
use poolkeeper::report::progress::folded;
use poolkeeper::settings::Settings;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Long lists are hundreds of thousands of small texts: with the C library's allocator they cost a sixth more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!(
            "error: a fault of poolkeeper itself: {}\n  hint: please report it with this line",
            one_line(&panic.to_string())
        ));
    }));
    poolkeeper::live::http::install_tls_provider();
    let cli = Cli::read();
    log(cli.global.verbose);
    let settings = Settings::read(&cli.global);
    match poolkeeper::commands::dispatch::dispatch(&cli, &settings) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(failed(&error, &settings)),
    }
}

/// Says what went wrong, each cause once, and what can be done; the exit code.
fn failed(error: &anyhow::Error, settings: &Settings) -> u8 {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken_pipe) {
        // `poolkeeper plan | head`: the reader has seen what it wanted.
        return exit::DONE;
    }
    // A log is searched by the line.
    let say_folded =
        |text: &str| say(if settings.folds { folded(text, settings.talk.width) } else { text.to_owned() }.trim_end());
    say_folded(&format!("error: {error:#}"));
    let lock = error.downcast_ref::<LockError>();
    let undone = || error.downcast_ref::<Undone>()?.hint();
    if let Some(hint) = lock.map(LockError::hint).or_else(|| error.downcast_ref::<LoadError>()?.hint()).or_else(undone) {
        say_folded(&format!("  hint: {hint}"));
    }
    match lock {
        Some(LockError::Held(_)) => exit::LOCKED,
        None if error.downcast_ref::<Usage>().is_some() => exit::USAGE,
        None if error.downcast_ref::<LoadError>().is_some_and(LoadError::is_usage) => exit::USAGE,
        None if error.downcast_ref::<Undone>().is_some() => exit::SOME_FAILED,
        Some(LockError::Open(..)) | None => exit::UNEXPECTED,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// To standard error; a closed one is nobody's loss.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// `-v`: warnings and reasons; `-vv`: every request and answer, secrets hidden by those who send them.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    // Our own words alone: what libraries would say of their connections hides them, and nobody has taken secrets out of it.
    let ours = Targets::new().with_target("poolkeeper", level);
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false).with_ansi(false);
    // What cannot be written is lost; the default says so on the same broken standard error, and panics.
    lines.without_time().log_internal_errors(false).finish().with(ours).init();
}
