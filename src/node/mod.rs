//! Servers and agents joined into nodes, and each node's state. Pure.
