//! A thin Jenkins client: one list, and the few calls that change an agent.
