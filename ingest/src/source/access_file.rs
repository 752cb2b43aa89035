//! `.access.toml`: who reads the files of a folder and of those below it. The nearest one wins.
//!
//! ```toml
//! readers = ["group:legal", "user:ana"]
//! ```
//!
//! One that cannot be used fails closed: what it would speak for is readable by nobody but the local administrator.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::name;
use crate::access::Acl;

/// Name of the file.
pub(super) const FILE_NAME: &str = ".access.toml";

/// No list of readers is longer than this, in bytes.
const MAX_BYTES: u64 = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessFile {
    readers: Acl,
}

/// The access files of one folder source, each read once.
pub(super) struct AccessFiles<'a> {
    root: &'a Path,
    default: &'a Acl,
    known: HashMap<PathBuf, Result<Acl, String>>,
    problems: BTreeMap<String, String>,
}

impl<'a> AccessFiles<'a> {
    /// For the folder `root`, all links resolved; `default` holds where no file speaks.
    pub fn new(root: &'a Path, default: &'a Acl) -> Self {
        Self { root, default, known: HashMap::new(), problems: BTreeMap::new() }
    }

    /// The readers of what stands in `folder`, which is `root` or below it, all links resolved; or why they cannot be
    /// known.
    pub fn readers(&mut self, folder: &Path) -> Result<Acl, String> {
        let mut unknown = Vec::new();
        let mut readers = Ok(self.default.clone());
        for ancestor in folder.ancestors() {
            if let Some(known) = self.known.get(ancestor) {
                readers = known.clone();
                break;
            }
            unknown.push(ancestor.to_owned());
            if ancestor == self.root {
                break;
            }
        }
        while let Some(ancestor) = unknown.pop() {
            match self.read(&ancestor) {
                Ok(Some(acl)) => readers = Ok(acl),
                Ok(None) => {}
                Err(reason) => {
                    let file = self.shown(&ancestor);
                    let problem = format!("`{file}` {reason}; nobody but the local administrator reads what it covers");
                    self.problems.insert(file, problem.clone());
                    readers = Err(problem);
                }
            }
            self.known.insert(ancestor, readers.clone());
        }
        readers
    }

    /// One line for each file that could not be used, in the order of paths.
    pub fn into_problems(self) -> Vec<String> {
        self.problems.into_values().collect()
    }

    /// What the file in this very folder says, if there is one.
    fn read(&self, folder: &Path) -> Result<Option<Acl>, String> {
        let path = folder.join(FILE_NAME);
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
        let real = fs::canonicalize(&path).map_err(|error| format!("cannot be read: {error}"))?;
        if !real.starts_with(self.root) {
            return Err("is a link that leads out of the source".to_owned());
        }
        if !real.is_file() {
            return Err("is not a file".to_owned());
        }
        let mut text = String::new();
        let file = File::open(&real).map_err(|error| format!("cannot be read: {error}"))?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("has more than {} KiB", MAX_BYTES >> 10));
        }
        match toml::from_str::<AccessFile>(&text) {
            Ok(parsed) => Ok(Some(parsed.readers)),
            Err(error) => Err(format!("cannot be understood: {}", error.message())),
        }
    }

    /// The file's path as it is listed.
    fn shown(&self, folder: &Path) -> String {
        let mut shown = String::new();
        for part in folder.strip_prefix(self.root).unwrap_or(Path::new("")) {
            shown.push_str(&name::to_text(part).unwrap_or_else(|| part.to_string_lossy().into_owned()));
            shown.push('/');
        }
        shown.push_str(FILE_NAME);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_wins_and_a_broken_one_closes() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir_all(root.join("x/y")).unwrap();
        fs::write(root.join("a/.access.toml"), "readers = ['group:a']").unwrap();
        fs::write(root.join("a/b/.access.toml"), "readers = ['group:b']\nowner = 'ana'").unwrap();
        fs::write(root.join("a/b/c/.access.toml"), "readers = []").unwrap();
        fs::create_dir(root.join("x/.access.toml")).unwrap();
        let default = "everyone".parse().unwrap();
        let mut files = AccessFiles::new(&root, &default);
        assert_eq!(files.readers(&root.join("a/b/c")), Ok(Acl::nobody()));
        assert_eq!(files.readers(&root.join("a")), Ok("group:a".parse().unwrap()));
        assert!(files.readers(&root.join("a/b")).unwrap_err().contains("`a/b/.access.toml` cannot be understood"));
        assert!(files.readers(&root.join("x/y")).unwrap_err().contains("not a file"));
        assert_eq!(files.readers(&root), Ok(default.clone()));
        assert_eq!(files.into_problems().len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_as_good_as_what_it_leads_to() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::write(root.join("shared.toml"), "readers = ['group:a']").unwrap();
        fs::write(outside.path().join("evil.toml"), "readers = ['everyone']").unwrap();
        let targets = ["../shared.toml", "../nowhere.toml", outside.path().join("evil.toml").to_str().unwrap()]
            .map(PathBuf::from);
        for (name, target) in ["good", "dangling", "outside"].iter().zip(&targets) {
            fs::create_dir(root.join(name)).unwrap();
            symlink(target, root.join(name).join(FILE_NAME)).unwrap();
        }
        let default = "everyone".parse().unwrap();
        let mut files = AccessFiles::new(&root, &default);
        assert_eq!(files.readers(&root.join("good")), Ok("group:a".parse().unwrap()));
        assert!(files.readers(&root.join("dangling")).is_err());
        assert!(files.readers(&root.join("outside")).is_err());
    }
}
