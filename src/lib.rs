//! Intramuros answers questions from a company's own documents, on its own machine, inside each caller's rights.
//!
//! The way through the code: `cli` or `http` `→ answer → retrieve → store`, with `state` beside the store and `index`
//! bringing documents in; [`local`] carries the command line's calls to a running server. Qdrant's crates appear only in
//! [`store`], axum only in [`http`], [`auth`] and [`error`]; whatever reads documents takes a caller.

pub mod accounts;
pub mod answer;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod error;
pub mod eval;
pub mod gloss;
pub mod http;
pub mod index;
pub mod jobs;
pub mod local;
pub mod lock;
mod numbers;
pub mod pull;
mod reserve;
pub mod retrieve;
pub mod state;
pub mod store;
pub mod uploads;
pub mod web;
