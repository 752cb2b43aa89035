//! From files to passages: sources, formats, structure-aware chunks and the pass that keeps an index in step with them.
//!
//! This crate knows no model, no vector store and no server. What it needs of them stands as ports in [`sync`].

pub mod access;
pub mod chunk;
pub mod document;
pub mod escape;
pub mod format;
pub mod language;
pub mod sentence;
pub mod source;
pub mod sync;
pub mod worker;
