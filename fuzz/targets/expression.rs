#![no_main]

#[path = "../../crates/capnweb-proto/tests/rig/mod.rs"]
mod rig;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rig::entries::expression(data));
