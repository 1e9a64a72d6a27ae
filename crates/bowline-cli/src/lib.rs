//! The commands of the bowline program.
