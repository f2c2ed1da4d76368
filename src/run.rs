//! A run: lock, passes in a row, deadline, signals; the one sleep.
