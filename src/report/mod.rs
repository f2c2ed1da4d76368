//! Plans and listings as text and JSON. Reads values, prints nothing itself.
