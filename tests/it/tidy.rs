//! House rules that the compiler does not keep.
