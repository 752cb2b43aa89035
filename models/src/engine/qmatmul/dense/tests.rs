//! Every way against chains in plain words, over odd shapes.

use super::*;
use crate::engine::noise::noise;
use crate::engine::shared::Shared;

const CODINGS: [Coding; 3] = [Coding::F32, Coding::F16, Coding::Bf16];

/// A matrix and its weights as a coding keeps them.
fn matrix(coding: Coding, rows: usize, columns: usize, weights: &[f32]) -> (Dense, Vec<f32>) {
    let mut bytes = Vec::new();
    let mut kept = Vec::new();
    for weight in weights {
        match coding {
            Coding::F32 => bytes.extend(weight.to_le_bytes()),
            Coding::F16 => bytes.extend(f16::from_f32(*weight).to_le_bytes()),
            Coding::Bf16 => bytes.extend(bf16::from_f32(*weight).to_le_bytes()),
        }
        kept.push(match coding {
            Coding::F32 => *weight,
            Coding::F16 => f16::from_f32(*weight).to_f32(),
            Coding::Bf16 => bf16::from_f32(*weight).to_f32(),
        });
    }
    (Dense::new(coding, rows, columns, &bytes), kept)
}

/// How a product is computed.
#[derive(Clone, Copy)]
enum By<'a> {
    Way(Way),
    Team(&'a Team),
}

/// Bits of all outputs, in the middle of rows that are longer.
fn product(dense: &Dense, by: By, input: &[f32]) -> Vec<u32> {
    let tokens = input.len() / dense.columns;
    let stride = dense.rows + 5;
    let mut output = vec![7.0; tokens * stride];
    let place = Place { output: Shared::new(&mut output), stride, offset: 3, bias: &[] };
    match by {
        By::Team(team) => dense.multiply(team, input, &place),
        By::Way(way) => dense.multiply_part(way, input, 0..tokens, 0..dense.rows, &place),
    }
    let mut bits = Vec::new();
    for row in output.chunks_exact(stride) {
        assert!(row[..3].iter().chain(&row[3 + dense.rows..]).all(|other| *other == 7.0), "wrote beside its place");
        bits.extend(row[3..3 + dense.rows].iter().map(|x| x.to_bits()));
    }
    bits
}

/// One chain of fused multiply-adds for each output.
fn chains(weights: &[f32], columns: usize, input: &[f32]) -> Vec<u32> {
    let mut bits = Vec::new();
    for token in input.chunks_exact(columns) {
        for row in weights.chunks_exact(columns) {
            let sum = row.iter().zip(token).fold(0f32, |sum, (weight, x)| weight.mul_add(*x, sum));
            bits.push(sum.to_bits());
        }
    }
    bits
}

#[test]
fn every_way_gives_the_same_bits_for_every_shape() {
    let team = Team::new("test", 3).unwrap();
    for coding in CODINGS {
        for (rows, columns) in [(1, 1), (16, 32), (33, 7), (47, 129), (80, 385), (21, 1537), (50, 4001)] {
            let (dense, weights) = matrix(coding, rows, columns, &noise(rows * columns, 7));
            for tokens in (1..14).chain([50]).filter(|tokens| columns < 1000 || *tokens < 8) {
                let input = noise(tokens * columns, 99);
                let expected = chains(&weights, columns, &input);
                for way in Way::available() {
                    assert!(
                        product(&dense, By::Way(way), &input) == expected,
                        "{coding:?} {way:?} {rows}x{columns}x{tokens}"
                    );
                }
                assert!(product(&dense, By::Team(&team), &input) == expected, "{coding:?} {rows}x{columns}x{tokens}");
            }
        }
    }
}

#[test]
fn many_tokens_are_cut_into_pieces_that_give_the_same_bits() {
    let team = Team::new("test", 2).unwrap();
    for coding in CODINGS {
        let (rows, columns) = (200, 96);
        let (dense, weights) = matrix(coding, rows, columns, &noise(rows * columns, 3));
        let input = noise(1500 * columns, 4);
        assert!(product(&dense, By::Team(&team), &input) == chains(&weights, columns, &input), "{coding:?}");
    }
}

#[test]
fn groups_that_others_packed_give_the_same_bits() {
    for (rows, columns, tokens) in [(16, 32, 1), (48, 20, 3), (80, 390, 13)] {
        let weights = noise(rows * columns, 8);
        let mut packed = Vec::new();
        for group in weights.chunks_exact(GROUP * columns) {
            packed.extend((0..columns).flat_map(|column| (0..GROUP).map(move |row| group[row * columns + column])));
        }
        let groups = Groups { weights: &packed, stride: GROUP * columns, count: rows / GROUP, columns };
        let stride = columns + 2;
        let input = noise(tokens * stride, 9);
        let mut output = vec![0.0; tokens * (rows + 1)];
        multiply_groups(groups, tokens, (&input, stride), (&mut output, rows + 1));
        let input: Vec<f32> = input.chunks_exact(stride).flat_map(|row| row[..columns].to_vec()).collect();
        let output: Vec<u32> =
            output.chunks_exact(rows + 1).flat_map(|row| &row[..rows]).map(|x| x.to_bits()).collect();
        assert!(output == chains(&weights, columns, &input), "{rows}x{columns}x{tokens}");
    }
}

#[test]
fn what_is_no_number_stays_with_its_token_and_its_row() {
    let (rows, columns) = (20, 40);
    let mut weights = noise(rows * columns, 1);
    weights[3 * columns + 5] = f32::NAN;
    weights[4 * columns + 6] = f32::INFINITY;
    let mut input = noise(8 * columns, 2);
    input[2 * columns + 9] = f32::NAN;
    input[5 * columns + 9] = f32::MIN_POSITIVE / 4.0;
    for coding in CODINGS {
        let (dense, _) = matrix(coding, rows, columns, &weights);
        for way in Way::available() {
            let output: Vec<f32> = product(&dense, By::Way(way), &input).into_iter().map(f32::from_bits).collect();
            for (at, value) in output.iter().enumerate() {
                let (token, row) = (at / rows, at % rows);
                assert_eq!(value.is_nan(), token == 2 || row == 3, "{coding:?} {way:?}: {value} at {token}, {row}");
                assert_eq!(
                    value.is_infinite(),
                    token != 2 && row == 4,
                    "{coding:?} {way:?}: {value} at {token}, {row}"
                );
            }
        }
    }
}

#[test]
fn rows_come_back_as_they_were() {
    for coding in CODINGS {
        let (dense, weights) = matrix(coding, 19, 71, &noise(19 * 71, 5));
        for (row, expected) in weights.chunks_exact(71).enumerate() {
            let mut output = vec![0.0; 71];
            dense.row(row, &mut output);
            assert_eq!(output, expected, "{coding:?}, row {row}");
        }
        let packed = 2 * (16 * 71 * coding.bytes()).next_multiple_of(64);
        assert_eq!(dense.bytes(), packed);
    }
}
