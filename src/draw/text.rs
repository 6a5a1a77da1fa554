//! Text with the font that is compiled in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::RgbImage;

use super::PAPER;

/// Nearly black.
pub(crate) const INK: [u8; 3] = [24, 24, 24];
/// For what is said in passing, such as headings of columns.
pub(crate) const FAINT: [u8; 3] = [96, 96, 96];
/// The font is a light one: below 1, this darkens the edges of its strokes.
const STROKE: f32 = 0.7;
/// Positions within a pixel that a character is drawn at.
const FRACTIONS: f32 = 4.0;

/// Text of one height.
pub(crate) struct Text {
    font: Option<FontRef<'static>>,
    scale: PxScale,
    /// Drawn characters by position within a pixel: a legend has the same digits over and over.
    drawn: RefCell<HashMap<(char, u8), Rc<Drawn>>>,
}

/// How much of each pixel a character covers, 0 to 1.
struct Drawn {
    /// From the pen's place to the left edge of the coverage.
    left: i64,
    /// From the top of the line to the top of the coverage.
    top: i64,
    width: usize,
    coverage: Vec<f32>,
}

impl Text {
    /// Lines of this height in pixels.
    pub(crate) fn new(pixels: f32) -> Self {
        let font = FontRef::try_from_slice(crate::image::FONT).ok();
        Self { font, scale: PxScale::from(pixels), drawn: RefCell::default() }
    }

    /// Height of a line.
    pub(crate) fn height(&self) -> u32 {
        self.scale.y.ceil() as u32
    }

    /// Width of a text.
    pub(crate) fn width(&self, text: &str) -> u32 {
        text.chars().map(|c| self.advance(c)).sum::<f32>().ceil() as u32
    }

    /// The text, or as much of its beginning as fits into `width`, with an ellipsis.
    pub(super) fn fitted(&self, text: &str, width: u32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut left = width as f32 - self.advance('…');
        let fits = |c: &char| {
            left -= self.advance(*c);
            left >= 0.0
        };
        let mut short: String = text.chars().take_while(fits).collect();
        short.truncate(short.trim_end().len());
        if !short.is_empty() {
            short.push('…');
        }
        short
    }

    /// Draws a text with its upper left corner at `(left, top)`; what lies beyond the canvas is cut off.
    pub(crate) fn draw(&self, canvas: &mut RgbImage, (left, top): (u32, u32), text: &str, ink: [u8; 3]) {
        let mut pen = left as f32;
        for character in text.chars() {
            self.glyph(character, pen.fract()).blend(canvas, pen as i64, i64::from(top), ink);
            pen += self.advance(character);
        }
    }

    /// An image of a text that reads upwards, on white.
    pub(super) fn upwards(&self, text: &str, ink: [u8; 3]) -> RgbImage {
        let mut line = RgbImage::from_pixel(self.width(text).max(1), self.height(), PAPER);
        self.draw(&mut line, (0, 0), text, ink);
        image::imageops::rotate270(&line)
    }

    fn advance(&self, character: char) -> f32 {
        let Some(font) = &self.font else { return 0.0 };
        let font = font.as_scaled(self.scale);
        font.h_advance(font.glyph_id(character))
    }

    fn glyph(&self, character: char, fraction: f32) -> Rc<Drawn> {
        let step = (fraction * FRACTIONS) as u8;
        let draw = || Rc::new(self.outline(character, f32::from(step) / FRACTIONS));
        Rc::clone(self.drawn.borrow_mut().entry((character, step)).or_insert_with(draw))
    }

    fn outline(&self, character: char, x: f32) -> Drawn {
        let mut drawn = Drawn { left: 0, top: 0, width: 1, coverage: Vec::new() };
        let Some(font) = &self.font else { return drawn };
        let ascent = font.as_scaled(self.scale).ascent();
        let glyph = font.glyph_id(character).with_scale_and_position(self.scale, point(x, ascent));
        let Some(outline) = font.outline_glyph(glyph) else { return drawn };
        let bounds = outline.px_bounds();
        let (width, height) = (bounds.width() as usize, bounds.height() as usize);
        (drawn.left, drawn.top, drawn.width) = (bounds.min.x as i64, bounds.min.y as i64, width);
        drawn.coverage = vec![0.0; width * height];
        outline.draw(|dx, dy, coverage| {
            if let Some(pixel) = drawn.coverage.get_mut(dy as usize * width + dx as usize) {
                *pixel = coverage.clamp(0.0, 1.0).powf(STROKE);
            }
        });
        drawn
    }
}

impl Drawn {
    fn blend(&self, canvas: &mut RgbImage, pen: i64, top: i64, ink: [u8; 3]) {
        for (row, line) in self.coverage.chunks_exact(self.width).enumerate() {
            let y = top + self.top + row as i64;
            for (column, &coverage) in line.iter().enumerate().filter(|(_, c)| **c > 0.0) {
                let x = pen + self.left + column as i64;
                if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
                    && let Some(pixel) = canvas.get_pixel_mut_checked(x, y)
                {
                    pixel.0 = std::array::from_fn(|i| mixed(pixel.0[i], ink[i], coverage));
                }
            }
        }
    }
}

/// A colour value laid over another with an opacity from 0 to 1.
pub(super) fn mixed(bottom: u8, top: u8, opacity: f32) -> u8 {
    (f32::from(bottom) + (f32::from(top) - f32::from(bottom)) * opacity).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_and_cut_to_fit() {
        let text = Text::new(20.0);
        let mut canvas = RgbImage::from_pixel(60, 20, PAPER);
        text.draw(&mut canvas, (2, 0), "salt", INK);
        assert!(canvas.pixels().any(|p| p.0[0] < 90));
        assert_eq!(text.fitted("salt", 60), "salt");
        let short = text.fitted("a long name of a class", 60);
        assert!(short.ends_with('…') && text.width(&short) <= 60, "{short}");
        assert_eq!(text.fitted("salt", 3), "");
    }

    #[test]
    fn the_font_has_the_characters_that_legends_need() {
        let font = FontRef::try_from_slice(crate::image::FONT).unwrap();
        assert!("…%<0é·".chars().all(|c| font.glyph_id(c).0 != 0));
    }
}
