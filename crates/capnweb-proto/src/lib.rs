//! The Cap'n Web protocol as a state machine without I/O.
