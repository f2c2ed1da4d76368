//! The world's own clock, and its own source of ids. Nothing here knows of wall time or chance.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// Whole seconds; moves only when told.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    now: Timestamp,
}

impl Clock {
    pub fn new(start: Timestamp) -> Self {
        Self { now: Timestamp::from_second(start.as_second()).unwrap_or(start) }
    }

    pub fn now(self) -> Timestamp {
        self.now
    }

    /// The time in so many seconds.
    pub fn after(self, seconds: u32) -> Timestamp {
        Timestamp::from_second(self.now.as_second() + i64::from(seconds)).unwrap_or(self.now)
    }

    pub(super) fn step(&mut self) {
        self.now = self.after(1);
    }
}

/// Ids and keys as a function of a seed and a count: the same run of a test has the same ones.
#[derive(Debug, Clone)]
pub struct Ids {
    seed: u64,
    next: u64,
}

impl Ids {
    pub fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    pub fn bytes(&mut self) -> [u8; 32] {
        self.next += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.next.to_be_bytes());
        hash.finalize().into()
    }

    /// A number that grows by one with each call to any function here.
    pub fn count(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Hex digits, at most 64.
    pub fn hex(&mut self, digits: usize) -> String {
        let nibbles = self.bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.take(digits).filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
    }

    /// A UUID of version 4 by its looks.
    pub fn uuid(&mut self) -> String {
        let hex = self.hex(32);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }
}
