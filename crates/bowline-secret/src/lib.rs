//! Secrets that cannot be printed.
