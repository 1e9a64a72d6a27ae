//! Unmodified tools of Cloudflare's against the stand-in edge. What they do is known from runs against other stand-ins; a
//! test here says what it takes for right.

mod access;
mod bindings;
mod changes;
mod commands;
mod dispatch;
mod readme;
mod session;
mod tools;
