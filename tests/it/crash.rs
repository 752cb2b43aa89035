//! Killed at any moment, the next run brings the index to where an undisturbed one would have.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::common::harness::{Scratch, places};

const KILLS: u64 = 20;
/// Files that change before each run: enough work for most runs to be still going when they are killed.
const REWRITTEN: u64 = 20;

/// A small generator of the same numbers in every run (Steele, Lea and Flood, "SplitMix", 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn text(number: u64, random: &mut SplitMix) -> String {
    let mut text = format!("# Procedure {number}\n");
    for section in 0..3 {
        text.push_str(&format!("\n## Step {section}\n\n"));
        for _ in 0..12 {
            let (amount, days) = (random.below(90_000), random.below(60));
            text.push_str(&format!("Requests above {amount} euros are reviewed within {days} working days. "));
        }
        text.push('\n');
    }
    text
}

#[test]
fn killed_twenty_times_the_index_equals_that_of_an_undisturbed_run() {
    let mut random = SplitMix(2026);
    let scratch = Scratch::new();
    for number in 0..60 {
        scratch.write(&format!("p{}/procedure-{number}.md", number % 5), text(number, &mut random));
    }
    let docs = scratch.docs();
    let mut killed = 0;
    for round in 0..KILLS {
        // Between the kills the files go on changing: some rewritten, one deleted, one with other readers.
        for _ in 0..REWRITTEN {
            let number = random.below(60);
            scratch.write(&format!("p{}/procedure-{number}.md", number % 5), text(number, &mut random));
        }
        if round % 4 == 1 {
            let readers = if random.below(2) == 0 { "group:legal" } else { "user:ana" };
            scratch.write(&format!("p{}/.access.toml", random.below(5)), format!("readers = [\"{readers}\"]\n"));
        }
        if round % 5 == 2 {
            let gone = docs.join(format!("p0/procedure-{}.md", 5 * random.below(12)));
            let _ = std::fs::remove_file(gone);
        }
        let args = ["ingest", docs.to_str().unwrap(), "--acl", "everyone"];
        let mut child = scratch.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(50 + random.below(2500)));
        // SIGKILL: nothing of the process runs any more.
        child.kill().unwrap();
        killed += u64::from(!child.wait().unwrap().success());
    }
    assert!(killed >= KILLS / 2, "only {killed} runs were still going when they were killed");
    scratch.ingest(&["--acl", "everyone"]);
    let survived = scratch.verified();

    let undisturbed = Scratch::new();
    let ran = undisturbed.run(["--json", "ingest", docs.to_str().unwrap(), "--acl", "everyone"]);
    ran.assert_ok();
    let fresh = undisturbed.verified();
    assert!(fresh["chunks"].as_u64().unwrap() > 100, "{fresh}");
    assert_eq!(survived, fresh);

    // The digest leaves vectors out; the same question must find the same places with the same scores.
    let question = "requests reviewed within 17 working days";
    let hits = |scratch: &Scratch| places(&scratch.search(question, Some("group:legal")));
    assert_eq!(hits(&scratch), hits(&undisturbed));
}
