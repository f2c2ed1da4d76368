//! The binary as a person or a timer calls it: exit code, stdout and stderr, whole, beside the texts in `fixtures/cli`.

mod codes;
mod documentation;
mod help;
mod place;
mod sandbox;
mod screens;
mod secrets;
mod signals;
mod surroundings;
mod terminal;
mod transcript;
