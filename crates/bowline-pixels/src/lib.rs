//! What Images takes of libraries whose code is generic, for the pixels it has: RGB and RGBA of eight bits a channel.
//!
//! Where generic code is used, it is compiled. Here that takes a minute, so it is done once, in a crate that seldom changes,
//! and not with each change of the binding and once more for its tests.

mod jpeg;
mod resize;

pub use jpeg::{Jpeg, JpegError, Small, read_smaller};
pub use resize::{Crop, ResizeError, Resizer};
