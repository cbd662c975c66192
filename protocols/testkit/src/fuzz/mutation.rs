//! Mutations of samples, for a fuzzer without coverage.

use meltemi_frame::Side;

use crate::Sample;

/// Writes a sample with a few mutations to `data`. They are of the kinds with which fuzzers find
/// the most.
pub(super) fn mutated(samples: &[Sample], random: &mut fastrand::Rng, data: &mut Vec<u8>) {
    const MOST: usize = 4096;
    data.clear();
    let Some(sample) = samples.get(random.usize(..samples.len().max(1))) else {
        return;
    };
    let right_side = u8::from(sample.side == Side::Client);
    data.push(random.u8(..) & !1 | right_side);
    data.extend(sample.bytes.iter().take(MOST));
    for _ in 0..random.usize(1..=4) {
        if data.len() < 2 {
            return;
        }
        let at = random.usize(1..data.len());
        let length = random.usize(1..=8).min(data.len() - at);
        match random.u8(..8) {
            0 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
            1 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = random.u8(..);
                }
            }
            2 => {
                let fill = random
                    .choice([0, 1, 0x7f, 0x80, 0xff, b'9', b'-', b'\n'])
                    .unwrap_or(0);
                data.iter_mut()
                    .skip(at)
                    .take(length)
                    .for_each(|byte| *byte = fill);
            }
            3 => drop(data.drain(at..at + length)),
            4 => {
                let again: Vec<u8> = data
                    .iter()
                    .skip(at)
                    .take(length * length)
                    .copied()
                    .collect();
                data.splice(at..at, again);
            }
            5 => data.truncate(at + 1),
            6 => {
                let noise: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
                data.splice(at..at, noise);
            }
            _ => {
                let other = samples.get(random.usize(..samples.len()));
                let other = other.map_or(&[][..], |other| &other.bytes);
                data.truncate(at);
                let from = random.usize(..other.len().max(1));
                data.extend(other.iter().skip(from).take(MOST));
            }
        }
    }
    data.truncate(MOST + 1);
}
