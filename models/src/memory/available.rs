//! What this machine has left.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that this process can still get, in bytes: the least of what the system has left and what its control groups
/// allow, less what loaded models were promised. `None` where the system tells neither.
pub fn available() -> Option<u64> {
    without(available_in(Path::new("/")), promised())
}

/// What all promises together stand for, in bytes.
pub fn promised() -> u64 {
    PROMISED.load(Ordering::Relaxed)
}

static PROMISED: AtomicU64 = AtomicU64::new(0);

/// Memory that a loaded model has for itself and takes as it is used: for the system it is free until then, but no other
/// model may count on it. What was taken already counts twice, which refuses too much rather than too little.
#[must_use = "the promise lasts as long as this"]
pub struct Promise {
    bytes: u64,
}

impl Promise {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes as u64;
        PROMISED.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        PROMISED.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn without(left: Option<u64>, promised: u64) -> Option<u64> {
    left.map(|left| left.saturating_sub(promised))
}

/// What the system and the control groups leave, where `root` holds `proc` and `sys`.
fn available_in(root: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = meminfo.and_then(|text| Some(field(&text, "MemAvailable:")? << 10));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            V2.left(&root.join("sys/fs/cgroup"), group)
        } else if controllers.split(',').any(|controller| controller == "memory") {
            V1.left(&root.join("sys/fs/cgroup/memory"), group)
        } else {
            None
        }
    });
    limits.chain(machine).min()
}

/// Names of a version of control groups.
struct ControlGroups {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`: what the kernel gives back when somebody needs it.
    reclaimable: [&'static str; 2],
}

const V2: ControlGroups =
    ControlGroups { limit: "memory.max", usage: "memory.current", reclaimable: ["active_file", "inactive_file"] };
const V1: ControlGroups = ControlGroups {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_active_file", "total_inactive_file"],
};

impl ControlGroups {
    /// What is left in a group and in those around it. Inside a container the group's path may be the host's, which does
    /// not exist there: then its innermost part that does exist counts, the mount itself at last.
    fn left(&self, mount: &Path, group: &str) -> Option<u64> {
        let own = mount.join(group);
        let around = own.ancestors().take_while(|directory| directory.starts_with(mount));
        around.filter_map(|directory| self.left_in(directory)).min()
    }

    fn left_in(&self, directory: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
        // "max", where nothing limits the group, is no number.
        let limit: u64 = read(self.limit)?.trim().parse().ok()?;
        let usage: u64 = read(self.usage)?.trim().parse().ok()?;
        let stat = read("memory.stat").unwrap_or_default();
        let reclaimable: u64 = self.reclaimable.iter().filter_map(|name| field(&stat, name)).sum();
        Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
    }
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut words =
        text.lines().map(str::split_whitespace).find_map(|mut words| (words.next()? == name).then_some(words))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n";

    /// A machine of these files.
    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_in(root.path())
    }

    #[test]
    fn without_control_groups_the_machine_counts() {
        assert_eq!(machine(&[("proc/meminfo", MEMINFO)]), Some(8_000_000 << 10));
        assert_eq!(machine(&[]), None);
        let unlimited = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory.current", "5\n"),
        ];
        assert_eq!(machine(&unlimited), Some(8_000_000 << 10));
    }

    #[test]
    fn the_tightest_group_around_counts_and_files_in_its_cache_are_free() {
        let groups = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/service/worker\n"),
            ("sys/fs/cgroup/service/memory.max", "1000000\n"),
            ("sys/fs/cgroup/service/memory.current", "900000\n"),
            ("sys/fs/cgroup/service/memory.stat", "anon 1\nactive_file 100000\ninactive_file 200000\n"),
            ("sys/fs/cgroup/service/worker/memory.max", "max\n"),
            ("sys/fs/cgroup/service/worker/memory.current", "800000\n"),
        ];
        assert_eq!(machine(&groups), Some(400_000));
    }

    #[test]
    fn the_first_version_of_control_groups_counts_inside_a_container_too() {
        let groups = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/docker/1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1200\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 300\ntotal_active_file 50\n"),
        ];
        assert_eq!(machine(&groups), Some(150));
    }

    #[test]
    fn what_is_promised_is_left_to_nobody_else() {
        assert_eq!([without(Some(9), 4), without(Some(3), 4), without(None, 4)], [Some(5), Some(0), None]);
        // Small: other tests load models meanwhile.
        let promise = Promise::new(4096);
        assert!(promised() >= 4096);
        drop(promise);
        #[cfg(target_os = "linux")]
        assert!(available().unwrap() > 1 << 20);
    }
}
