//! Workers on real workerd, with Rust behind their bindings.

mod failures;
mod forms;
mod guestbook;
mod host;
mod support;
