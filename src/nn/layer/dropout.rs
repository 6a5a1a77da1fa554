//! Dropout by a hash of the value's place: the same on every device, and again when a training is resumed.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::nn::device::{has_every_integer, is_gpu};
use crate::nn::group::Share;
use crate::nn::ops::{noted, upload};

/// Values whose factors a GPU makes in one go: 64-bit integers, of which there are a few at a time.
const AT_ONCE: usize = 1 << 24;

/// Most values whose factors are made in main memory for a GPU: one copy in its queue, where making them there takes dozens
/// of small pieces of work.
const COPIED: usize = 1 << 16;

/// Multipliers and shifts of Chris Wellons' triple32, a permutation of 32-bit integers with little bias.
const ROUNDS: [(u32, u32); 3] = [(17, 0xed5a_d4bb), (11, 0xac4c_1b51), (15, 0x3184_8bab)];
const LAST_SHIFT: u32 = 14;

/// `x` `[batch, channels, height, width]` with each channel of each image set to 0 with probability `rate`, and the
/// others divided by `1 - rate` (PyTorch's `Dropout2d`, arXiv 1411.4280); `draw` alone decides which.
pub fn dropout_channels(x: Tensor<4>, rate: f64, draw: u64) -> Tensor<4> {
    let [batch, channels, _, _] = x.dims();
    drop(x, [batch, channels, 1, 1], rate, draw)
}

/// `x` `[batch, channels, height, width]` with each value set to 0 with probability `rate`, and the others divided by
/// `1 - rate` (PyTorch's and Keras' `Dropout`, arXiv 1207.0580); `draw` alone decides which.
pub fn dropout_pixels(x: Tensor<4>, rate: f64, draw: u64) -> Tensor<4> {
    let shape = x.dims();
    drop(x, shape, rate, draw)
}

fn drop(x: Tensor<4>, shape: [usize; 4], rate: f64, draw: u64) -> Tensor<4> {
    if rate == 0.0 {
        return x;
    }
    let (dice, device) = (Dice::new(rate, draw), x.device());
    // The places of a share are those that its samples have in the whole batch.
    let sample: usize = shape[1..].iter().product();
    let first = Share::first() * sample;
    let places = first..first + shape[0] * sample;
    let there = is_gpu(&device) && has_every_integer(&device) && places.len() > COPIED;
    let factors = if there { dice.on_device(places, &device) } else { dice.in_memory(places, &device) };
    let factors = noted(factors.reshape(shape));
    let dtype = x.dtype();
    noted(x * factors.cast(dtype))
}

/// Which of many values are kept.
#[derive(Debug, Clone, Copy)]
struct Dice {
    /// Two halves of a draw, between and after which places are hashed.
    keys: [u32; 2],
    /// Hashes below it are of values that are dropped.
    limit: u32,
    /// What the others are multiplied by.
    kept: f32,
}

impl Dice {
    fn new(rate: f64, draw: u64) -> Self {
        // SplitMix64's finaliser: neighbouring draws have nothing in common.
        let mixed = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        let limit = (rate * 2f64.powi(32)) as u32;
        Self { keys: [mixed as u32, (mixed >> 32) as u32], limit, kept: (1.0 / (1.0 - rate)) as f32 }
    }

    fn hash(self, place: u32) -> u32 {
        hashed(hashed(place ^ self.keys[0]) ^ self.keys[1])
    }

    fn in_memory(self, places: Range<usize>, device: &Device) -> Tensor<1> {
        let count = places.len();
        let factor = |place: usize| if self.hash(place as u32) < self.limit { 0.0 } else { self.kept };
        let factors: Vec<f32> = places.into_par_iter().map(factor).collect();
        upload(TensorData::new(factors, [count]), device)
    }

    /// [`Self::in_memory`], computed on the device: nothing has to be copied there.
    fn on_device(self, places: Range<usize>, device: &Device) -> Tensor<1> {
        let end = places.end;
        let parts = places.step_by(AT_ONCE).map(|start| self.part(start..(start + AT_ONCE).min(end), device));
        Tensor::cat(parts.collect(), 0)
    }

    fn part(self, places: Range<usize>, device: &Device) -> Tensor<1> {
        let places = Tensor::<1, Int>::arange(places.start as i64..places.end as i64, (device, DType::I64));
        // As `place as u32` does.
        let places = places.bitwise_and_scalar(i64::from(u32::MAX));
        let once = hashed_there(places.bitwise_xor_scalar(i64::from(self.keys[0])));
        let hashes = hashed_there(once.bitwise_xor_scalar(i64::from(self.keys[1])));
        let kept = hashes.greater_equal_elem(i64::from(self.limit));
        kept.float().cast(DType::F32).mul_scalar(self.kept)
    }
}

fn hashed(mut x: u32) -> u32 {
    for (shift, factor) in ROUNDS {
        x = (x ^ (x >> shift)).wrapping_mul(factor);
    }
    x ^ (x >> LAST_SHIFT)
}

/// [`hashed`] of 32-bit numbers in 64-bit integers.
fn hashed_there(mut x: Tensor<1, Int>) -> Tensor<1, Int> {
    for (shift, factor) in ROUNDS {
        // As a signed number, so that the product stays below 2^63; its low half is the same.
        let factor = i64::from(factor as i32);
        let mixed = shifted_over(x, shift).mul_scalar(factor);
        x = mixed.bitwise_and_scalar(i64::from(u32::MAX));
    }
    shifted_over(x, LAST_SHIFT)
}

fn shifted_over(x: Tensor<1, Int>, shift: u32) -> Tensor<1, Int> {
    x.clone().bitwise_xor(x.bitwise_right_shift_scalar(i64::from(shift)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(rate: f64, draw: u64, count: usize) -> Vec<f32> {
        Dice::new(rate, draw).in_memory(0..count, &Device::flex()).try_into_vec_as().unwrap()
    }

    #[test]
    fn the_device_draws_what_main_memory_draws() {
        for (rate, draw) in [(0.1, 0), (0.5, u64::MAX), (0.93, 12_345)] {
            let dice = Dice::new(rate, draw);
            let there: Vec<f32> = dice.part(1_000..5_000, &Device::flex()).try_into_vec_as().unwrap();
            assert_eq!(there, factors(rate, draw, 5_000)[1_000..]);
            // A share of a batch.
            let there: Vec<f32> = dice.in_memory(4_000..5_000, &Device::flex()).try_into_vec_as().unwrap();
            assert_eq!(there, factors(rate, draw, 5_000)[4_000..]);
        }
    }

    #[test]
    fn so_many_are_dropped_whatever_the_draw_and_independently() {
        const COUNT: usize = 100_000;
        let share = |dropped: usize| dropped as f64 / COUNT as f64;
        for rate in [0.1, 0.5, 0.8] {
            // Five standard deviations.
            let near = |share: f64, expected: f64| {
                (share - expected).abs() < 5.0 * (expected * (1.0 - expected) / COUNT as f64).sqrt()
            };
            let draws: Vec<Vec<bool>> =
                (0..4).map(|draw| factors(rate, draw, COUNT).iter().map(|&f| f == 0.0).collect()).collect();
            for (draw, dropped) in draws.iter().enumerate() {
                assert!(near(share(dropped.iter().filter(|d| **d).count()), rate), "draw {draw}, rate {rate}");
                for lag in [1, 2, 64, 4096] {
                    let both = dropped.iter().zip(dropped.iter().cycle().skip(lag)).filter(|(a, b)| **a && **b);
                    assert!(near(share(both.count()), rate * rate), "draw {draw}, rate {rate}, {lag} apart");
                }
                let next = &draws[(draw + 1) % draws.len()];
                let both = dropped.iter().zip(next).filter(|(a, b)| **a && **b);
                assert!(near(share(both.count()), rate * rate), "draws {draw} and the next, rate {rate}");
            }
        }
    }

    #[test]
    fn what_is_kept_makes_up_for_what_is_not() {
        assert!(factors(0.75, 3, 1_000).iter().all(|&factor| factor == 0.0 || factor == 4.0));
    }
}
