//! Tests through the front door: the real binary, real files, the starter models and the embedded store.

mod answers;
mod bad_input;
mod bench;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod eval;
mod forms;
mod full_disk;
mod generation;
mod history;
mod http_rights;
mod ingest;
mod load;
mod local;
mod models;
mod rights;
mod sessions;
mod uploads;
mod users;
