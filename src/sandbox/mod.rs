//! An in-memory OpenStack, Jenkins and set of machines: for the tests and the demo.
