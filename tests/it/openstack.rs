//! The OpenStack client against recorded answers of a real OpenStack.
