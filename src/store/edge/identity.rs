//! The file beside the embedded index that says which embedder made it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::point::check_embedder;
use crate::store::{EmbedderIdentity, StoreError};

const FILE: &str = "collection.json";
/// The layout of points and payload; a reader refuses numbers it does not know.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Collection {
    version: u32,
    embedder: EmbedderIdentity,
    #[serde(default)]
    index_id: Option<Uuid>,
}

/// Writes the identity into a new index, or compares it with that of an existing one. Returns the index's own id.
pub(super) fn claim(directory: &Path, embedder: &EmbedderIdentity) -> Result<Uuid, StoreError> {
    let path = directory.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            let found: Collection = serde_json::from_slice(&bytes).map_err(|error| failed(&path, &error))?;
            if found.version != VERSION {
                return Err(failed(&path, &format!("layout {} is not known to this version", found.version)));
            }
            check_embedder(&found.embedder, embedder)?;
            match found.index_id {
                Some(id) => Ok(id),
                None => write(directory, embedder).map_err(|error| failed(&path, &error)),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write(directory, embedder).map_err(|error| failed(&path, &error))
        }
        Err(error) => Err(failed(&path, &error)),
    }
}

fn write(directory: &Path, embedder: &EmbedderIdentity) -> io::Result<Uuid> {
    let id = Uuid::new_v4();
    let collection = Collection { version: VERSION, embedder: embedder.clone(), index_id: Some(id) };
    let temporary = directory.join(format!("{FILE}.new"));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(&collection)?)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(FILE))?;
    fs::File::open(directory)?.sync_all()?;
    Ok(id)
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Engine { action: "read the identity of the index", reason: format!("{}: {reason}", path.display()) }
}
