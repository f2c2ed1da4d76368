//! Broken desired states and the exact words that they bring.
