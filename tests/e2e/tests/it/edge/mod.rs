//! Unmodified tools of Cloudflare's against the stand-in edge: reference is what they do against Cloudflare's own.

mod access;
mod bindings;
