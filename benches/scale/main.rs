//! `make bench`: what a run costs, with few pools and many, few servers and many. Prints a table; fails when a target is missed.
//! Times and memory are the machine's, so nothing here is a test.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends here"
)]
#![expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]

#[path = "../../tests/it/audited.rs"]
mod audited;
mod figures;
mod idle;
mod images;
mod lists;
#[path = "../../tests/it/served.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod served;
mod usage;

use std::path::Path;
use std::process::ExitCode;

use figures::Figure;

/// As the program itself has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // cargo's own word to every benchmark.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [usage::MEASURE, program, ..] => usage::measure(Path::new(program), &arguments[2..]),
        [lists::PLAN, desired_state, directory] => lists::plan_lists(Path::new(desired_state), Path::new(directory)),
        [program] => return table(Path::new(program)),
        _ => return table(Path::new(env!("CARGO_BIN_EXE_poolkeeper"))),
    }
    ExitCode::SUCCESS
}

fn table(program: &Path) -> ExitCode {
    let mut missed = 0;
    let mut print = |figures: Vec<Figure>| {
        for figure in figures {
            missed += usize::from(figure.is_missed());
            println!("{}", figure.line());
        }
    };
    let size = std::fs::metadata(program).expect("the program").len();
    print(vec![Figure::new("the program: size", size as f64 / 1024.0 / 1024.0, "MiB", None)]);
    print(idle::figures(program));
    print(images::figures(program));
    print(lists::figures());
    if missed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{missed} targets missed");
    ExitCode::FAILURE
}
