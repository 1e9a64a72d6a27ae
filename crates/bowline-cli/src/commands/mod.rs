//! One file per command.

pub(crate) mod access;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod dev;
pub(crate) mod edge;
pub(crate) mod models;
pub(crate) mod serve;
