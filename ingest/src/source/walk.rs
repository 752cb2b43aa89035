//! Lists the files below a folder.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::access_file::AccessFiles;
use super::{Listing, folder, name, uri};
use crate::document::SourceItem;
use crate::sync::Listed;

/// One walk over the folder `root`, all links resolved.
pub(super) struct Walk<'a> {
    root: &'a Path,
    access: AccessFiles<'a>,
    listing: Listing,
    pending: Vec<Place>,
}

/// A file or folder to look at.
struct Place {
    /// Where it really stands, all links resolved.
    real: PathBuf,
    /// Where it is listed; empty for the root.
    path: String,
    /// Whether a link led here.
    linked: bool,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a Path, access: AccessFiles<'a>) -> Self {
        Self { root, access, listing: Listing::default(), pending: Vec::new() }
    }

    /// Lists all below a path, which may be a file too. Fails only if it cannot be looked at; if it does not exist, its
    /// listing is empty.
    pub fn run(mut self, below: &str) -> io::Result<Listing> {
        let real = match below {
            "" => self.root.to_owned(),
            _ => folder::on_disk(self.root, below).ok_or(io::ErrorKind::InvalidInput)?,
        };
        let start = match fs::canonicalize(&real) {
            Ok(resolved) if self.is_inside(&resolved) => {
                Some(Place { linked: resolved != real, real: resolved, path: below.to_owned() })
            }
            Ok(_) => return Err(io::Error::other("it leads out of the source or to hidden files")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(start) = start {
            let metadata = fs::metadata(&start.real)?;
            if metadata.is_dir() {
                fs::read_dir(&start.real)?;
                self.pending.push(start);
            } else {
                self.file(start, &metadata);
            }
        }
        while let Some(place) = self.pending.pop() {
            self.folder(&place);
        }
        self.listing.warnings = self.access.into_problems();
        self.listing.items.sort_by(|a, b| a.path.cmp(&b.path));
        self.listing.failures.sort();
        self.listing.skips.sort();
        Ok(self.listing)
    }

    fn folder(&mut self, place: &Place) {
        // Found out even if no file stands here, so that a broken access file is reported before it matters.
        let _ = self.access.readers(&place.real);
        let entries = match fs::read_dir(&place.real) {
            Ok(entries) => entries,
            Err(error) => return self.fail(&place.path, format!("the folder cannot be listed: {error}")),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(place, &entry.file_name()),
                Err(error) => self.fail(&place.path, format!("the folder cannot be listed to its end: {error}")),
            }
        }
    }

    fn entry(&mut self, folder: &Place, file_name: &OsStr) {
        if is_hidden(file_name) {
            return;
        }
        let Some(text) = name::to_text(file_name) else {
            return self.fail(&folder.path, "it holds a file whose name is not Unicode".to_owned());
        };
        let path = if folder.path.is_empty() { text } else { format!("{}/{text}", folder.path) };
        let real = folder.real.join(file_name);
        let metadata = match fs::symlink_metadata(&real) {
            Ok(metadata) => metadata,
            // Gone between listing and looking: as if it had never been listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.fail(&path, format!("it cannot be looked at: {error}")),
        };
        if metadata.is_symlink() {
            self.link(folder, &real, path);
        } else if metadata.is_dir() {
            self.pending.push(Place { real, path, linked: folder.linked });
        } else {
            self.file(Place { real, path, linked: folder.linked }, &metadata);
        }
    }

    /// Follows a link, but not a second one on the same way: so the walk ends, and the paths are at most as many as
    /// folders times links.
    fn link(&mut self, folder: &Place, link: &Path, path: String) {
        let target = fs::canonicalize(link).and_then(|target| Ok((fs::metadata(&target)?, target)));
        let (metadata, real) = match target {
            Ok(found) => found,
            Err(error) => return self.fail(&path, format!("the link cannot be followed: {error}")),
        };
        if !self.is_inside(&real) {
            return self.skip(path, "a link that leads out of the source or to hidden files");
        }
        if !metadata.is_dir() {
            return self.file(Place { real, path, linked: true }, &metadata);
        }
        if folder.real.starts_with(&real) {
            return self.skip(path, "a link to a folder that it stands in");
        }
        if folder.linked {
            return self.skip(path, "a link to a folder, in a folder that was reached by a link");
        }
        self.pending.push(Place { real, path, linked: true });
    }

    fn file(&mut self, place: Place, metadata: &Metadata) {
        if !metadata.is_file() {
            return self.skip(place.path, "neither a file nor a folder");
        }
        let acl = self.access.readers(place.real.parent().unwrap_or(self.root));
        // The address is that of the listed place, links and all: it is where people look for it.
        let listed = folder::on_disk(self.root, &place.path).unwrap_or(place.real);
        self.listing.items.push(SourceItem { uri: uri::of_file(&listed), path: place.path, acl, size: metadata.len() });
    }

    /// Whether a place, all links resolved, is in the source and not hidden there.
    fn is_inside(&self, real: &Path) -> bool {
        real.strip_prefix(self.root).is_ok_and(|relative| !relative.iter().any(is_hidden))
    }

    fn fail(&mut self, path: &str, reason: String) {
        self.listing.failures.push(Listed { path: path.to_owned(), reason });
    }

    fn skip(&mut self, path: String, reason: &str) {
        self.listing.skips.push(Listed { path, reason: reason.to_owned() });
    }
}

fn is_hidden(file_name: &OsStr) -> bool {
    file_name.as_encoded_bytes().starts_with(b".")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::access::Acl;

    fn list(root: &Path, below: &str) -> Listing {
        let root = fs::canonicalize(root).unwrap();
        let default = "everyone".parse().unwrap();
        Walk::new(&root, AccessFiles::new(&root, &default)).run(below).unwrap()
    }

    fn paths(listing: &Listing) -> Vec<&str> {
        listing.items.iter().map(|item| item.path.as_str()).collect()
    }

    #[test]
    fn files_are_sorted_hidden_ones_left_out_and_addresses_encoded() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("b/año")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        for file in ["b/año/día 1.md", "b.md", "a.md", ".hidden.md", ".git/x.md", "b/.access.toml"] {
            fs::write(at(file), "readers = ['group:b']").unwrap();
        }
        fs::write(folder.path().join(OsStr::from_bytes(b"caf\xe9.md")), "x").unwrap();
        let listing = list(folder.path(), "");
        assert_eq!(paths(&listing), ["a.md", "b.md", "b/año/día 1.md", "caf\\xe9.md"]);
        assert!(listing.items[2].uri.ends_with("/b/a%C3%B1o/d%C3%ADa%201.md"), "{}", listing.items[2].uri);
        assert!(listing.items[3].uri.ends_with("/caf%E9.md"));
        assert_eq!(listing.items[2].acl, Ok("group:b".parse().unwrap()));
        assert_eq!(listing.items[0].size, 21);
        assert_eq!((listing.failures.len(), listing.skips.len(), listing.warnings.len()), (0, 0, 0));
    }

    #[test]
    fn links_stay_inside_end_and_open_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("legal/old")).unwrap();
        fs::create_dir_all(at("open")).unwrap();
        fs::write(at("legal/.access.toml"), "readers = ['group:legal']").unwrap();
        fs::write(at("legal/old/c.md"), "x").unwrap();
        fs::write(outside.path().join("o.md"), "x").unwrap();
        symlink("../legal", at("open/laws")).unwrap();
        symlink("../legal/old/c.md", at("open/c.md")).unwrap();
        symlink("..", at("open/up")).unwrap();
        symlink("../open", at("legal/back")).unwrap();
        symlink(outside.path(), at("open/out")).unwrap();
        symlink("nowhere", at("open/dangling")).unwrap();
        symlink("../legal/.access.toml", at("open/rights.toml")).unwrap();
        symlink("self", at("open/self")).unwrap();
        let listing = list(folder.path(), "");
        assert_eq!(paths(&listing), ["legal/back/c.md", "legal/old/c.md", "open/c.md", "open/laws/old/c.md"]);
        let legal: Acl = "group:legal".parse().unwrap();
        assert!(listing.items.iter().all(|item| item.acl.as_ref() == Ok(&legal)), "{:?}", listing.items);
        let failed: Vec<&str> = listing.failures.iter().map(|failure| failure.path.as_str()).collect();
        assert_eq!(failed, ["legal/back/dangling", "legal/back/self", "open/dangling", "open/self"]);
        let skipped: Vec<&str> = listing.skips.iter().map(|skip| skip.path.as_str()).collect();
        assert!(
            ["open/out", "open/up", "open/rights.toml", "open/laws/back"].iter().all(|path| skipped.contains(path))
        );
    }

    #[test]
    fn a_part_is_listed_with_the_readers_from_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at(".access.toml"), "readers = ['group:top']").unwrap();
        fs::write(at("a/b/x.md"), "x").unwrap();
        fs::write(at("y.md"), "x").unwrap();
        let top: Acl = "group:top".parse().unwrap();
        for below in ["a", "a/b", "a/b/x.md"] {
            let listing = list(folder.path(), below);
            assert_eq!(paths(&listing), ["a/b/x.md"]);
            assert_eq!(listing.items[0].acl.as_ref(), Ok(&top));
        }
        assert_eq!(list(folder.path(), "missing"), Listing::default());
    }
}
