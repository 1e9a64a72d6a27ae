//! The commands of the bowline program.

pub mod commands;
pub mod settings;
