//! Matrix products by coding, shape and number of tokens: `cargo bench --bench kernels [-- CODING…] [threads=N]`.
//!
//! For each the best and the middle of many runs. Matrices are multiplied in turn, as many as no cache holds, so that the
//! figures for one token show how fast weights come from memory; the first line says how fast memory is merely read.

use std::time::{Duration, Instant};

use intramuros_models::engine::gguf::{GgmlDType, RawTensor};
use intramuros_models::engine::qmatmul::{Linear, Scratch};
use intramuros_models::engine::team::Team;

const CODINGS: [GgmlDType; 8] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];
/// Rows and columns in the starter model and in one of a billion weights.
const SHAPES: [(usize, usize); 7] =
    [(576, 576), (1536, 576), (3072, 576), (576, 1536), (2048, 2048), (8192, 2048), (2048, 8192)];
const TOKENS: [usize; 6] = [1, 2, 4, 8, 64, 512];
/// Bytes of weights that are gone through before the first come again.
const MORE_THAN_CACHES: usize = 256 << 20;
const TIME_FOR_EACH: Duration = Duration::from_millis(300);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let threads = arguments.iter().find_map(|argument| argument.strip_prefix("threads=")?.parse().ok()).unwrap_or(2);
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.contains('=')).collect();
    let team = Team::new("bench", threads).expect("threads");
    println!("{threads} threads, memory is read at {:.1} GB/s", bandwidth(&team));
    println!("{:6} {:>11} {:>6}  {:>15}  {:>13}", "coding", "shape", "tokens", "GMAC/s best/mid", "GB/s best/mid");
    for coding in CODINGS {
        let name = format!("{coding:?}");
        if wanted.is_empty() || wanted.iter().any(|wanted| **wanted == name) {
            for (rows, columns) in SHAPES {
                measure(&team, coding, rows, columns);
            }
        }
    }
}

fn measure(team: &Team, coding: GgmlDType, rows: usize, columns: usize) {
    if !columns.is_multiple_of(coding.block_size()) {
        return;
    }
    let bytes = weights(coding, rows * columns / coding.block_size());
    let count = (MORE_THAN_CACHES / bytes.len()).max(1);
    let tensor = RawTensor { dtype: coding, rows, columns, bytes: &bytes };
    let linears: Vec<Linear> = (0..count).map(|_| Linear::new(&[tensor]).expect("weights")).collect();
    for tokens in TOKENS {
        let input: Vec<f32> = (0..tokens * columns).map(|i| (i * 7919 % 1000) as f32 * 0.01 - 5.0).collect();
        let mut output = vec![0.0; tokens * rows];
        let mut scratch = Scratch::default();
        let mut next = linears.iter().cycle();
        let (best, middle) = time(|| {
            let linear = next.next().expect("an endless round");
            linear.forward(team, &input, &mut scratch, &mut output).expect("a product");
        });
        let products = (tokens * rows * columns) as f64 / 1e9;
        let read = bytes.len() as f64 / 1e9;
        println!(
            "{:6} {:>11} {tokens:6}  {:7.1} {:7.1}  {:6.1} {:6.1}",
            format!("{coding:?}"),
            format!("{rows}x{columns}"),
            products / best,
            products / middle,
            read / best,
            read / middle
        );
    }
}

/// Seconds of the best and of the middle run.
fn time(mut run: impl FnMut()) -> (f64, f64) {
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < TIME_FOR_EACH || times.len() < 5 {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

/// GB/s when all threads add up a buffer that no cache holds.
fn bandwidth(team: &Team) -> f64 {
    let words = vec![1u64; MORE_THAN_CACHES / 8];
    let piece = words.len() / team.threads();
    let sum = std::sync::atomic::AtomicU64::new(0);
    let (best, _) = time(|| {
        team.run(team.threads(), |index| {
            let part: u64 = words[index * piece..(index + 1) * piece].iter().sum();
            sum.fetch_add(part, std::sync::atomic::Ordering::Relaxed);
        });
    });
    assert!(sum.into_inner() > 0);
    MORE_THAN_CACHES as f64 / 1e9 / best
}

/// Blocks of noise with small scales.
fn weights(coding: GgmlDType, blocks: usize) -> Vec<u8> {
    /// 0.01 as f16.
    const SMALL: [u8; 2] = 0x211fu16.to_le_bytes();
    let size = coding.type_size();
    let mut bytes = vec![0u8; size * blocks];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for eight in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        eight.copy_from_slice(&state.to_le_bytes()[..eight.len()]);
    }
    for block in bytes.chunks_exact_mut(size) {
        match coding {
            GgmlDType::Q6K => block[size - 2..].copy_from_slice(&SMALL),
            GgmlDType::Q4_1 | GgmlDType::Q5_1 | GgmlDType::Q4K | GgmlDType::Q5K => {
                block[..2].copy_from_slice(&SMALL);
                block[2..4].copy_from_slice(&SMALL);
            }
            _ => block[..2].copy_from_slice(&SMALL),
        }
    }
    bytes
}
