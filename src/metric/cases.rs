//! Scores of single images, summed so that the order does not matter.

use serde::{Deserialize, Serialize};

use super::confusion::Areas;

/// A sum of numbers from 0 to 1 in units of 2^-64. Adding integers gives the same sum in any order, which floats do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    units: u128,
    count: u64,
}

/// 2^64.
const UNIT: f64 = 18_446_744_073_709_551_616.0;

impl Sum {
    /// Adds a number from 0 to 1.
    pub fn add(&mut self, value: f64) {
        self.units += (value * UNIT) as u128;
        self.count += 1;
    }

    /// Adds what another sum holds.
    pub fn merge(&mut self, other: &Self) {
        self.units += other.units;
        self.count += other.count;
    }

    /// Whether numbers from 0 to 1 can have this sum.
    pub(super) fn is_possible(&self) -> bool {
        self.count < 1 << 62 && self.units <= u128::from(self.count) << 64
    }

    /// The mean of the numbers; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.units as f64 / UNIT / self.count as f64)
    }
}

/// IoU and Dice of one class over single images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaseSums {
    /// IoU of the images in which the class occurs or was predicted.
    pub iou: Sum,
    /// Dice, likewise.
    pub dice: Sum,
}

impl CaseSums {
    /// Adds an image, unless the class neither occurs in it nor was predicted.
    pub fn add(&mut self, areas: &Areas) {
        if let (Some(iou), Some(dice)) = (areas.iou(), areas.dice()) {
            self.iou.add(iou);
            self.dice.add(dice);
        }
    }

    /// Adds what was summed elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.iou.merge(&other.iou);
        self.dice.merge(&other.dice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_sum_does_not_matter() {
        let values: Vec<f64> = (1..2000).map(|i| 1.0 / f64::from(i)).collect();
        let sum = |values: &mut dyn Iterator<Item = &f64>| {
            values.fold(Sum::default(), |mut sum, v| {
                sum.add(*v);
                sum
            })
        };
        let forward = sum(&mut values.iter());
        assert_eq!(forward, sum(&mut values.iter().rev()));
        let mut halves = sum(&mut values[700..].iter());
        halves.merge(&sum(&mut values[..700].iter()));
        assert_eq!(forward, halves);
        let plain = values.iter().sum::<f64>() / values.len() as f64;
        assert!((forward.mean().unwrap() - plain).abs() < 1e-15);
        assert_eq!((Sum::default().mean(), sum(&mut [1.0, 1.0].iter()).mean()), (None, Some(1.0)));
    }
}
