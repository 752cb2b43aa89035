//! Who asks: the extractors without which a handler reaches no data.
//!
//! Invariant: a request never becomes [`Caller::LocalAdministrator`]. The role `admin` gives commands (uploads, sources,
//! jobs), not reading rights: an administrator reads what the documents' readers say, like everybody.

use intramuros_ingest::access::Caller;
use serde::{Deserialize, Serialize};

/// What somebody may do beside reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Asks and searches.
    Member,
    /// Brings documents in and runs jobs besides.
    Admin,
}

/// Somebody known, with the rights that every read takes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name, without `user:`.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// What they may read.
    pub caller: Caller,
}

/// Somebody known with the role `admin`.
pub struct Admin(pub Identity);
