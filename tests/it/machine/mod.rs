//! Remote commands under a real sh in a temporary root, and connections to servers that are none.
#![expect(clippy::panic, reason = "a helper of a test fails by panicking, as the test does")]

mod commands;
mod guest;
mod lines;
mod power;
mod session;
