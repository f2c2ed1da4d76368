//! Carries out a plan: chains side by side, each ended at its first action that is not done. Decides nothing.
