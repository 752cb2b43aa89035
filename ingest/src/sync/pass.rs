//! The pass itself.

use super::{Ports, SyncError, SyncEvent, SyncOptions, SyncReport};
use crate::source::Source;

/// Brings the index in step with a source.
pub fn run(
    _source: &dyn Source,
    _ports: Ports<'_>,
    _options: &SyncOptions,
    _events: &mut dyn FnMut(SyncEvent<'_>),
) -> Result<SyncReport, SyncError> {
    Ok(SyncReport::default())
}
