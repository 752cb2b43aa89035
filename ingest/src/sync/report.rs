//! What a pass did: counts, and by name what it could not take in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::escape::printable;

/// What became of one document in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Was not in the index, or not completely, and is now.
    New,
    /// Its content, or what makes its chunks, is another than before.
    Changed,
    /// Only its readers are others than before.
    Rights,
    /// The same content stood elsewhere in the source before.
    Moved,
    /// Is no longer in the source, nor in the index.
    Deleted,
    /// Is as it was.
    Unchanged,
    /// Could not be read or understood.
    Failed,
    /// Is of no kind that can be read.
    Skipped,
}

/// A file that was not taken in, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listed {
    /// Where it stands in the source.
    pub path: String,
    /// Why, for the administrator.
    pub reason: String,
}

/// The outcome of a pass. Its names in JSON are stable; its [`Display`](fmt::Display) is the table shown at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReport {
    /// Name of the source.
    pub source: String,
    /// See [`Status::New`].
    pub new: u64,
    /// See [`Status::Changed`].
    pub changed: u64,
    /// See [`Status::Moved`].
    pub moved: u64,
    /// See [`Status::Rights`].
    pub rights: u64,
    /// See [`Status::Deleted`].
    pub deleted: u64,
    /// See [`Status::Unchanged`].
    pub unchanged: u64,
    /// See [`Status::Failed`]; folders that could not be listed count as one.
    pub failed: u64,
    /// See [`Status::Skipped`].
    pub skipped: u64,
    /// Chunks written to the index.
    pub chunks: u64,
    /// Those of them that went through the model.
    pub embedded: u64,
    /// Those of them whose vectors were in the index already.
    pub reused: u64,
    /// Bytes of the files that were read: all of a known format, since only their content says whether they changed.
    pub bytes: u64,
    /// Milliseconds from listing to the last commit.
    pub took_ms: u64,
    /// What failed, in the order of paths.
    pub failures: Vec<Listed>,
    /// What was skipped, in the order of paths.
    pub skips: Vec<Listed>,
    /// What an administrator should look at, though it kept nothing from being indexed.
    pub warnings: Vec<String>,
    /// Whether it was cancelled before its end.
    pub interrupted: bool,
}

impl SyncReport {
    /// Counts one document.
    pub(super) fn count(&mut self, status: Status) {
        let field = match status {
            Status::New => &mut self.new,
            Status::Changed => &mut self.changed,
            Status::Rights => &mut self.rights,
            Status::Moved => &mut self.moved,
            Status::Deleted => &mut self.deleted,
            Status::Unchanged => &mut self.unchanged,
            Status::Failed => &mut self.failed,
            Status::Skipped => &mut self.skipped,
        };
        *field += 1;
    }

    /// Whether the pass changed anything in the index or its ledger.
    pub fn changed_anything(&self) -> bool {
        self.new + self.changed + self.moved + self.rights + self.deleted > 0
    }
}

impl fmt::Display for SyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "source {}", printable(&self.source))?;
        let rows = [
            ("new", self.new),
            ("changed", self.changed),
            ("moved", self.moved),
            ("rights", self.rights),
            ("deleted", self.deleted),
            ("unchanged", self.unchanged),
            ("failed", self.failed),
            ("skipped", self.skipped),
        ];
        let width = rows.iter().map(|(_, count)| count.to_string().len()).max().unwrap_or(1);
        for (name, count) in rows {
            writeln!(f, "  {name:<10} {count:>width$}")?;
        }
        let seconds = self.took_ms as f64 / 1000.0;
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "  {} chunks written ({} embedded, {} re-used), {mebibytes:.1} MiB read and compared in {seconds:.1} s",
            self.chunks, self.embedded, self.reused
        )?;
        if self.interrupted {
            writeln!(f, "  interrupted: what is done is kept, the next run goes on from here")?;
        }
        write_list(f, "failed", &self.failures)?;
        write_list(f, "skipped", &self.skips)?;
        if !self.warnings.is_empty() {
            writeln!(f, "warnings:")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  {}", printable(warning))?;
        }
        Ok(())
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, title: &str, listed: &[Listed]) -> fmt::Result {
    if listed.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    for Listed { path, reason } in listed {
        writeln!(f, "  {}: {}", printable(path), printable(reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_lists_what_failed() {
        let mut report = SyncReport { source: "hr".into(), unchanged: 1204, ..SyncReport::default() };
        report.count(Status::New);
        report.count(Status::Failed);
        report.failures.push(Listed { path: "a\u{1b}[2J.pdf".into(), reason: "encrypted".into() });
        report.bytes = 3 << 19;
        let table = report.to_string();
        assert!(table.contains(" 1.5 MiB read and compared in "), "{table}");
        assert!(table.contains("\n  new           1\n"), "{table}");
        assert!(table.contains("\n  unchanged  1204\n"), "{table}");
        assert!(table.contains("failed:\n  a\\u{1b}[2J.pdf: encrypted\n"), "{table}");
        assert!(!table.contains("warnings"), "{table}");
    }

    #[test]
    fn the_names_in_json_are_stable() {
        let json = serde_json::to_value(SyncReport::default()).unwrap();
        for name in ["new", "changed", "moved", "rights", "deleted", "unchanged", "failed", "skipped", "chunks"] {
            assert_eq!(json[name], 0, "{name}");
        }
        for name in ["embedded", "reused", "took_ms"] {
            assert_eq!(json[name], 0, "{name}");
        }
        assert_eq!(json["failures"], serde_json::json!([]));
        assert_eq!(json["warnings"], serde_json::json!([]));
        assert_eq!(json["interrupted"], false);
    }
}
