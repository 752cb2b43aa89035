//! What the integration tests and the benches share: the binary run in a directory of its own, its server, and many
//! clients of it.
#![allow(dead_code, reason = "no one of those who share it uses all of it")]

pub mod browser;
pub mod harness;
pub mod load;
pub mod serving;
