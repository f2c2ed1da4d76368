//! One flock per deployment, so that two runs never act at one time.
