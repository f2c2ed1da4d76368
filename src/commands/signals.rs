//! Signals of a run: the first lets calls in flight end, the second ends the process. While a question stands open the first
//! is its answer: nothing is in flight, and nobody who has pressed Ctrl-C means yes by what is typed next.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit;

/// Asks by what it is given, and waits for what comes.
pub type Answer<'a> = &'a (dyn Fn(&mut dyn FnMut()) -> Heard + Sync);

/// What came while a question stood open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// As it was typed; without its line's end: the input has ended.
    Line(String),
    Signal(Stop),
}

/// A signal that a person or systemd stops a run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Interrupt,
    Terminate,
}

impl Stop {
    const ALL: [Self; 2] = [Self::Interrupt, Self::Terminate];

    fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// As shells call it: 128 and the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Interrupt => exit::INTERRUPTED,
            Self::Terminate => exit::TERMINATED,
        }
    }
}

/// The signals that have come.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    stopped: Arc<AtomicBool>,
    /// Number of the first; 0: none.
    which: Arc<AtomicUsize>,
    /// Who waits for an answer.
    asks: Arc<Mutex<Option<Sender<Heard>>>>,
}

impl Signals {
    pub fn watch() -> io::Result<Self> {
        let signals = Self::default();
        let (mut woken, wakes) = UnixStream::pair()?;
        for stop in Stop::ALL {
            let number = stop.number();
            // The second signal ends the process at once, as people expect; the first one is waited for.
            signal_hook::flag::register_conditional_shutdown(number, stop.code().into(), Arc::clone(&signals.stopped))?;
            signal_hook::flag::register(number, Arc::clone(&signals.stopped))?;
            signal_hook::flag::register_usize(number, Arc::clone(&signals.which), number.unsigned_abs() as usize)?;
            signal_hook::low_level::pipe::register(number, wakes.try_clone()?)?;
        }
        let heard = signals.clone();
        std::thread::spawn(move || {
            if woken.read_exact(&mut [0]).is_ok() {
                heard.tell();
            }
        });
        Ok(signals)
    }

    /// Set by the first signal.
    pub fn stopped(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopped)
    }

    /// A person who pressed Ctrl-C is told at once that it was heard: a call in flight may take half a minute.
    fn tell(&self) {
        match (self.asks().as_ref(), self.first()) {
            (Some(asks), Some(stop)) => drop(asks.send(Heard::Signal(stop))),
            // A closed standard error is nobody's loss.
            _ => drop(writeln!(
                io::stderr(),
                "stopping: calls in flight are finished, nothing is begun; once more ends it at once"
            )),
        }
    }

    fn first(&self) -> Option<Stop> {
        let which = self.which.load(Ordering::SeqCst);
        Stop::ALL.into_iter().find(|stop| stop.number().unsigned_abs() as usize == which)
    }

    fn asks(&self) -> MutexGuard<'_, Option<Sender<Heard>>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and reads the next line of standard input, unless a signal comes before it: before the question, it is not asked.
    /// A thread reads: a read goes on after a signal.
    pub fn answer(&self, ask: &mut dyn FnMut()) -> Heard {
        self.answer_of(ask, || {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line)?;
            Ok(line)
        })
    }

    fn answer_of(&self, ask: &mut dyn FnMut(), read: impl FnOnce() -> io::Result<String> + Send + 'static) -> Heard {
        let (send, heard) = channel();
        *self.asks() = Some(send.clone());
        let came = if let Some(stop) = self.first() {
            Heard::Signal(stop)
        } else {
            ask();
            std::thread::spawn(move || {
                // What cannot be read is no answer.
                let _nobody_waits_any_more = send.send(Heard::Line(read().unwrap_or_default()));
            });
            heard.recv().unwrap_or_else(|_| Heard::Line(String::new()))
        };
        *self.asks() = None;
        self.first().map_or(came, Heard::Signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(ask: impl Fn(&Signals), read: fn() -> io::Result<String>) -> Heard {
        let signals = Signals::default();
        signals.answer_of(&mut || ask(&signals), read)
    }

    #[test]
    fn a_signal_comes_before_what_was_typed() {
        let line = Heard::Line("y\n".to_owned());
        assert_eq!(answered(|_| (), || Ok("y\n".to_owned())), line);
        let terminated = |signals: &Signals| signals.which.store(SIGTERM.unsigned_abs() as usize, Ordering::SeqCst);
        assert_eq!(answered(terminated, || Ok("y\n".to_owned())), Heard::Signal(Stop::Terminate));
        assert_eq!(answered(|_| (), || Err(io::ErrorKind::BrokenPipe.into())), Heard::Line(String::new()));
    }
}
