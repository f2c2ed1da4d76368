//! What the code under test sends to `tracing`, as text; and a process of its own for a test that looks at it.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Set in the process that a test was started alone in.
const ALONE: &str = "POOLKEEPER_TEST_ALONE";

/// Runs a test again in a process where no other test runs, and there its `work`. Whether an event is wanted is kept with the
/// place in the code that sends it, for the whole process: another test's thread, which wants none, may be the first to come
/// by and then nobody gets it (`callsite::register` of tracing-core asks the one thread that came).
pub(crate) fn alone(test: &str, work: impl FnOnce()) {
    #[expect(clippy::disallowed_methods, reason = "the process that was started below knows itself by it")]
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let program = std::env::current_exe().expect("this program");
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"];
    let output = std::process::Command::new(program).args(arguments).env(ALONE, "1").output().expect("it starts");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{test}, alone: {said}");
}

/// Every event of this thread while `work` runs, a line each, with all its fields.
pub(crate) fn traced(work: impl FnOnce()) -> String {
    let lines = Arc::new(Mutex::new(String::new()));
    tracing::subscriber::with_default(Lines(Arc::clone(&lines)), work);
    let text = lines.lock().expect("no panic").clone();
    assert!(!text.is_empty(), "nothing was traced");
    text
}

struct Lines(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes all");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("poolkeeper")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut lines = self.0.lock().expect("no panic");
        event.record(&mut Fields(&mut lines));
        lines.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
