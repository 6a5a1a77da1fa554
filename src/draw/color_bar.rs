//! The bar that says which colour means which number.

use image::RgbImage;

use super::ramp::Ramp;
use super::text::{INK, Text};
use super::{GAP, PAPER, fill, paste};

/// Length of the lines between bar and numbers.
const TICK: u32 = 4;

/// A bar beside an image of one height: its size and its text.
struct ColorBar {
    width: u32,
    text: Text,
    ticks: &'static [(f32, &'static str)],
}

impl ColorBar {
    /// For an image of `height` pixels.
    fn new(height: u32) -> Self {
        let text = Text::new((height as f32 / 20.0).clamp(11.0, 30.0));
        let ticks: &[_] = match height / text.height() {
            0..=3 => &[(0.0, "0"), (1.0, "1")],
            4..=9 => &[(0.0, "0"), (0.5, "0.5"), (1.0, "1")],
            _ => &[(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")],
        };
        Self { width: (height / 24).clamp(6, 28), text, ticks }
    }

    fn total_width(&self) -> u32 {
        let widest = self.ticks.iter().map(|(_, name)| self.text.width(name)).max().unwrap_or(0);
        GAP + self.width + 2 * TICK + widest
    }

    fn draw(&self, canvas: &mut RgbImage, left: u32, ramp: &Ramp) {
        let height = canvas.height();
        let (left, last) = (left + GAP, height.saturating_sub(1));
        for y in 0..height {
            let value = (last - y) as f32 / last.max(1) as f32;
            fill(canvas, (left, y), (self.width, 1), ramp.color(value));
        }
        let right = left + self.width;
        for (value, name) in self.ticks {
            let y = ((1.0 - value) * last as f32).round() as u32;
            fill(canvas, (right, y), (TICK, 1), INK);
            let half = self.text.height() / 2;
            let top = y.saturating_sub(half).min(height.saturating_sub(self.text.height()));
            self.text.draw(canvas, (right + 2 * TICK, top), name, INK);
        }
    }
}

/// Width that [`with_color_bar`] adds to an image of this height.
pub fn color_bar_width(height: u32) -> u32 {
    ColorBar::new(height).total_width()
}

/// An image of probabilities with the meaning of its colours beside it, on white.
pub fn with_color_bar(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let bar = ColorBar::new(height);
    let mut canvas = RgbImage::from_pixel(width + bar.total_width(), height, PAPER);
    paste(&mut canvas, image, (0, 0));
    bar.draw(&mut canvas, width, &Ramp::dark_to_light());
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_runs_from_1_to_0() {
        for height in [1, 20, 600] {
            let canvas = with_color_bar(&RgbImage::new(30, height));
            assert_eq!(canvas.dimensions(), (30 + color_bar_width(height), height));
            let ramp = Ramp::dark_to_light();
            let (bar, bottom) = (30 + GAP, height - 1);
            assert_eq!(canvas.get_pixel(bar, bottom).0, ramp.color(0.0));
            assert!(height == 1 || canvas.get_pixel(bar, 0).0 == ramp.color(1.0));
        }
    }
}
