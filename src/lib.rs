//! Intramuros answers questions from a company's own documents, on its own machine, inside each caller's rights.
//!
//! The way through the code: `cli → answer → retrieve → store`, with `state` beside the store and `index` bringing
//! documents in. Qdrant's crates appear only in [`store`]; whatever reads documents takes a caller.

pub mod answer;
pub mod app;
pub mod cli;
pub mod config;
pub mod eval;
pub mod index;
pub mod lock;
pub mod pull;
mod reserve;
pub mod retrieve;
pub mod state;
pub mod store;
