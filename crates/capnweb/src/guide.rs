//! The concepts, one page each.

#[doc = include_str!("guide/typed.md")]
pub mod typed {}

#[doc = include_str!("guide/stubs.md")]
pub mod stubs {}

#[doc = include_str!("guide/promises.md")]
pub mod promises {}

#[doc = include_str!("guide/ownership.md")]
pub mod ownership {}

#[doc = include_str!("guide/map.md")]
pub mod map {}

#[doc = include_str!("guide/streams.md")]
pub mod streams {}

#[doc = include_str!("guide/limits.md")]
pub mod limits {}

#[doc = include_str!("guide/security.md")]
pub mod security {}
