//! The binary on a pseudo terminal of 80 columns, as `script` makes one: what is typed there, and what is seen.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use super::place::{Place, Said};

/// A command that runs on a terminal.
pub(super) struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    /// Read so far.
    seen: Vec<u8>,
    pid_file: std::path::PathBuf,
}

impl Terminal {
    /// None: this machine has no `script`. The signals of the keyboard have their default meaning, whatever they have here.
    pub(super) fn start(place: &Place, command: &str, no_colour: bool) -> Option<Self> {
        let pid_file = place.path("tmp/pid");
        let defaults = "exec env --default-signal=INT,TERM,HUP,QUIT";
        let (pid, program) = (pid_file.display(), env!("CARGO_BIN_EXE_poolkeeper"));
        let command = format!("stty cols 80; echo $$ >{pid}; {defaults} {program} {command}");
        let mut script = place.bare("script");
        script.args(["-qec", &command, "/dev/null"]).env("SHELL", "/bin/sh").env("PATH", "/usr/bin:/bin").env_remove("COLUMNS");
        if !no_colour {
            script.env_remove("NO_COLOR");
        }
        let spawned = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                // Past the harness' capture, which hides what a passing test prints.
                writeln!(std::io::stderr(), "\nNOT CHECKED: a terminal, by script: {error}").expect("stderr");
                return None;
            }
        };
        let keyboard = child.stdin.take().expect("its keyboard");
        Some(Self { child, keyboard, seen: Vec::new(), pid_file })
    }

    pub(super) fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    /// Until this stands on the screen.
    pub(super) fn wait_for(&mut self, text: &str) {
        let out = self.child.stdout.as_mut().expect("its screen");
        let mut byte = [0];
        while !self.seen.ends_with(text.as_bytes()) {
            let read = out.read(&mut byte).expect("its screen");
            assert_ne!(read, 0, "no `{text}` came: {}", String::from_utf8_lossy(&self.seen));
            self.seen.extend(byte);
        }
    }

    /// The command itself, not what made the terminal for it.
    pub(super) fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(&self.pid_file).expect("its pid");
        let kill = format!("kill -{name} {}", pid.trim());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    /// With the keyboard there until it has ended.
    pub(super) fn end(self, place: &Place) -> Said {
        let Self { child, keyboard, mut seen, .. } = self;
        let Output { status, stdout, stderr } = child.wait_with_output().expect("its end");
        drop(keyboard);
        seen.extend(stdout);
        let stdout = String::from_utf8(seen).expect("UTF-8").replace("\r\n", "\n").into_bytes();
        place.said(&Output { status, stdout, stderr })
    }
}

/// A command on a terminal; `answers` is typed there. None: this machine has no `script`.
pub(super) fn on_a_terminal(place: &Place, command: &str, answers: &str, no_colour: bool) -> Option<Said> {
    let mut terminal = Terminal::start(place, command, no_colour)?;
    terminal.type_in(answers);
    Some(terminal.end(place))
}
