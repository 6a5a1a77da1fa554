//! Made seismic sections: dipping layers with sand bodies, a fault, salt and noise, with their labels.
//!
//! A section is modelled as seismic data come about: a layered impedance, cut by the fault and pierced by the salt,
//! gives reflection coefficients; a Ricker wavelet makes them a trace; noise is added.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::pair::Pair;
use crate::base::files::{create_folder, write_bytes};
use crate::base::{LabelMap, Result, Size};
use crate::image::{Pixels, encode_png};

const SHALE: u16 = 0;
const SAND: u16 = 1;
const SALT: u16 = 2;
const FAULT: u16 = 3;

/// Half-width of a fault's damage zone, in pixels.
const FAULT_HALF_WIDTH: f32 = 1.6;

/// Half-length of the wavelet, in samples.
const WAVELET_REACH: i32 = 7;

/// A section and its classes (those of the `demo` dataset).
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Grey values, row by row.
    pub pixels: Vec<u8>,
    /// Shale, sand, salt, fault.
    pub labels: LabelMap,
}

/// One layer: its lower boundary in the undeformed column, its impedance, whether it is sand.
struct Layer {
    bottom: f32,
    impedance: f32,
    sand: bool,
}

/// The shape of one section's underground.
struct Geology {
    layers: Vec<Layer>,
    dip: f32,
    fold: (f32, f32, f32),
    /// Where the fault meets the top, its slope in columns a row, its throw in rows.
    fault: (f32, f32, f32),
    /// Centre column, top row and half-width of the salt; none in every third section.
    salt: Option<(f32, f32, f32)>,
}

impl Geology {
    fn draw(rng: &mut ChaCha8Rng, size: Size) -> Self {
        let (width, height) = (size.width as f32, size.height as f32);
        let mut layers = Vec::new();
        let mut bottom = -height;
        while bottom < 2.0 * height {
            let sand = rng.random_bool(0.25);
            bottom += if sand { rng.random_range(9.0..16.0) } else { rng.random_range(3.0..9.0) };
            // Sand is soft here: a strong negative contrast on top, as a gas sand shows it.
            let impedance = if sand { rng.random_range(0.1..0.25) } else { rng.random_range(0.8..1.2) };
            layers.push(Layer { bottom, impedance, sand });
        }
        let side = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        Self {
            layers,
            dip: rng.random_range(-0.25..0.25),
            fold: (rng.random_range(1.0..6.0), rng.random_range(0.02..0.06), rng.random_range(0.0..6.0)),
            fault: (
                width * rng.random_range(0.25..0.75),
                side * rng.random_range(0.15..0.45),
                side * rng.random_range(8.0..16.0),
            ),
            salt: rng.random_bool(0.67).then(|| {
                let top = height * rng.random_range(0.35..0.7);
                (width * rng.random_range(0.1..0.9), top, width * rng.random_range(0.12..0.25))
            }),
        }
    }

    fn in_salt(&self, x: f32, y: f32) -> bool {
        self.salt.is_some_and(|(centre, top, half)| {
            let across = (x - centre) / (half * (1.0 + (y - top).max(0.0) / 160.0));
            y > top + 0.35 * half * across * across * 2.0 && across.abs() < 1.0
        })
    }

    /// Signed distance from the fault plane in pixels, positive on its right.
    fn fault_distance(&self, x: f32, y: f32) -> f32 {
        let (top, slope, _) = self.fault;
        (x - top - slope * y) / (1.0 + slope * slope).sqrt()
    }

    fn layer(&self, x: f32, y: f32) -> &Layer {
        let (amplitude, frequency, phase) = self.fold;
        let throw = if self.fault_distance(x, y) > 0.0 { self.fault.2 } else { 0.0 };
        let depth = y - self.dip * x - amplitude * (frequency * x + phase).sin() - throw;
        let at = self.layers.partition_point(|layer| layer.bottom <= depth);
        &self.layers[at.min(self.layers.len() - 1)]
    }

    fn class(&self, x: f32, y: f32) -> u16 {
        if self.in_salt(x, y) {
            SALT
        } else if self.fault_distance(x, y).abs() < FAULT_HALF_WIDTH {
            FAULT
        } else if self.layer(x, y).sand {
            SAND
        } else {
            SHALE
        }
    }
}

/// Makes section number `index` of the set that `seed` stands for.
pub fn section(seed: u64, index: u64, size: Size) -> Section {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let geology = Geology::draw(&mut rng, size);
    let wavelet: Vec<f32> = (-WAVELET_REACH..=WAVELET_REACH).map(|t| ricker(t as f32, 0.14)).collect();
    let mut amplitude = vec![0.0f32; size.width * size.height];
    for x in 0..size.width {
        let impedance = |y: i32| {
            let (x, y) = (x as f32, y as f32);
            if geology.in_salt(x, y) { 1.9 } else { geology.layer(x, y).impedance }
        };
        let reflectivity = |y: i32| (impedance(y) - impedance(y - 1)) / (impedance(y) + impedance(y - 1));
        let column: Vec<f32> = (-WAVELET_REACH..size.height as i32 + WAVELET_REACH).map(reflectivity).collect();
        for y in 0..size.height {
            amplitude[y * size.width + x] = wavelet.iter().zip(&column[y..]).map(|(w, r)| w * r).sum();
        }
    }
    let mut classes = Vec::with_capacity(amplitude.len());
    for y in 0..size.height {
        classes.extend((0..size.width).map(|x| geology.class(x as f32, y as f32)));
    }
    for (sample, &class) in amplitude.iter_mut().zip(&classes) {
        // Salt scatters, a fault zone smears.
        let (gain, noise) = match class {
            SALT => (0.5, 0.1),
            FAULT => (0.35, 0.06),
            _ => (1.0, 0.06),
        };
        *sample = *sample * gain + noise * gaussian(&mut rng);
    }
    let grey = |a: f32| (128.0 + 150.0 * a).clamp(0.0, 255.0) as u8;
    Section { pixels: amplitude.into_iter().map(grey).collect(), labels: LabelMap { size, classes } }
}

/// N. Ricker's wavelet (1953) with peak frequency `f` in cycles a sample.
fn ricker(t: f32, f: f32) -> f32 {
    let a = (std::f32::consts::PI * f * t).powi(2);
    (1.0 - 2.0 * a) * (-a).exp()
}

/// Standard normal, by Box and Muller.
fn gaussian(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random_range(f32::EPSILON..1.0), rng.random_range(0.0..std::f32::consts::TAU));
    (-2.0 * u.ln()).sqrt() * v.cos()
}

/// Writes sections `range` as `images/NNN.png` and `labels/NNN.png` below `folder`, with the lists `<name>_images.txt`
/// and `<name>_labels.txt`.
pub fn write_set(folder: &Path, name: &str, seed: u64, range: std::ops::Range<u64>, size: Size) -> Result<Vec<Pair>> {
    let (images, labels) = (folder.join("images"), folder.join("labels"));
    create_folder(&images)?;
    create_folder(&labels)?;
    let mut pairs = Vec::new();
    for index in range.clone() {
        let section = section(seed, index, size);
        let file = format!("{index:03}.png");
        let pair = Pair { image: images.join(&file), label: labels.join(&file).into() };
        write_bytes(&pair.image, &encode_png(size, Pixels::Gray8(&section.pixels))?)?;
        let values: Vec<u8> = section.labels.classes.iter().map(|&c| c as u8).collect();
        write_bytes(&labels.join(&file), &encode_png(size, Pixels::Gray8(&values))?)?;
        pairs.push(pair);
    }
    for kind in ["images", "labels"] {
        let lines: String = range.clone().map(|index| format!("{kind}/{index:03}.png\n")).collect();
        write_bytes(&folder.join(format!("{name}_{kind}.txt")), lines.as_bytes())?;
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 96, height: 96 };

    #[test]
    fn sections_depend_on_seed_and_index_alone() {
        assert_eq!(section(1, 5, SIZE), section(1, 5, SIZE));
        assert_ne!(section(1, 5, SIZE), section(1, 6, SIZE));
        assert_ne!(section(1, 5, SIZE), section(2, 5, SIZE));
    }

    #[test]
    fn every_class_occurs_and_shale_leads() {
        let mut pixels = [0usize; 4];
        for index in 0..20 {
            for class in section(0, index, SIZE).labels.classes {
                pixels[usize::from(class)] += 1;
            }
        }
        assert!(pixels.iter().all(|&n| n > 1000), "{pixels:?}");
        assert!(pixels[0] == *pixels.iter().max().unwrap(), "{pixels:?}");
    }
}
