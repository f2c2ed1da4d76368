//! Remote commands under a real sh in a temporary root.
