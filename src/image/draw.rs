//! Pictures for people: colours for classes, panels side by side, a legend in real text.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

const GAP: u32 = 8;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: [u8; 3] = [32, 32, 32];

/// Paints `labels` (row by row, `width` a row) with one colour a class; values beyond `colors` become black.
pub fn color_labels(labels: &[u16], width: usize, colors: &[[u8; 3]]) -> RgbImage {
    let height = labels.len().checked_div(width).unwrap_or(0);
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let class = usize::from(labels[y as usize * width + x as usize]);
        Rgb(colors.get(class).copied().unwrap_or([0, 0, 0]))
    })
}

/// Pictures one below the other, on white.
pub fn stack(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(0);
    let height = pictures.iter().map(|p| p.height() + GAP).sum::<u32>().saturating_sub(GAP);
    let mut canvas = RgbImage::from_pixel(width, height, PAPER);
    let mut top = 0;
    for picture in pictures {
        image::imageops::replace(&mut canvas, picture, 0, top);
        top += i64::from(picture.height() + GAP);
    }
    canvas
}

fn mix(bottom: u8, top: u8, opacity: f32) -> u8 {
    (f32::from(bottom) + (f32::from(top) - f32::from(bottom)) * opacity).round() as u8
}

/// Names and colours that a picture is read by.
#[derive(Debug, Clone, Default)]
pub struct Legend {
    /// Name and colour, in the order drawn.
    pub entries: Vec<(String, [u8; 3])>,
}

/// Titled panels in a row, centred, on white, with a legend line below.
pub fn side_by_side(panels: &[(&str, RgbImage)], legend: &Legend) -> RgbImage {
    let text = Text::new(18.0);
    let columns: u32 = panels.iter().map(|(_, p)| p.width() + GAP).sum::<u32>() + GAP;
    let tallest = panels.iter().map(|(_, p)| p.height()).max().unwrap_or(0);
    let title = text.height() + GAP;
    let rows = legend_rows(legend, &text, columns);
    let legend_height = rows.len() as u32 * (text.height() + GAP);
    let mut canvas = RgbImage::from_pixel(columns, title + tallest + 2 * GAP + legend_height, PAPER);
    let mut left = GAP;
    for (name, panel) in panels {
        text.draw(&mut canvas, left, GAP / 2, name);
        image::imageops::replace(&mut canvas, panel, i64::from(left), i64::from(title));
        left += panel.width() + GAP;
    }
    let mut top = title + tallest + GAP;
    for row in rows {
        for (left, name, color) in row {
            let side = text.height() - 4;
            image::imageops::replace(
                &mut canvas,
                &RgbImage::from_pixel(side, side, Rgb(color)),
                left.into(),
                (top + 2).into(),
            );
            text.draw(&mut canvas, left + side + 6, top, name);
        }
        top += text.height() + GAP;
    }
    canvas
}

/// Lays the entries out in lines no wider than `width`: left edge, name, colour.
fn legend_rows<'a>(legend: &'a Legend, text: &Text, width: u32) -> Vec<Vec<(u32, &'a str, [u8; 3])>> {
    let mut rows: Vec<Vec<_>> = Vec::new();
    let mut left = width;
    for (name, color) in &legend.entries {
        let needed = text.height() + 2 + text.width(name) + 2 * GAP;
        if rows.is_empty() || left + needed > width {
            rows.push(Vec::new());
            left = GAP;
        }
        if let Some(row) = rows.last_mut() {
            row.push((left, name.as_str(), *color));
        }
        left += needed;
    }
    rows
}

/// Draws text with the font that is compiled in.
struct Text {
    font: Option<FontRef<'static>>,
    scale: PxScale,
}

impl Text {
    fn new(pixels: f32) -> Self {
        Self { font: FontRef::try_from_slice(super::FONT).ok(), scale: PxScale::from(pixels) }
    }

    fn height(&self) -> u32 {
        self.scale.y.ceil() as u32
    }

    fn width(&self, text: &str) -> u32 {
        let Some(font) = &self.font else { return 0 };
        let font = font.as_scaled(self.scale);
        text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum::<f32>().ceil() as u32
    }

    fn draw(&self, canvas: &mut RgbImage, left: u32, top: u32, text: &str) {
        let Some(font) = &self.font else { return };
        let font = font.as_scaled(self.scale);
        let mut x = left as f32;
        for character in text.chars() {
            let id = font.glyph_id(character);
            let glyph = id.with_scale_and_position(self.scale, point(x, top as f32 + font.ascent()));
            x += font.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let (px, py) = (bounds.min.x as i64 + i64::from(dx), bounds.min.y as i64 + i64::from(dy));
                if let (Ok(px), Ok(py)) = (u32::try_from(px), u32::try_from(py))
                    && let Some(pixel) = canvas.get_pixel_mut_checked(px, py)
                {
                    let old = pixel.0;
                    pixel.0 = std::array::from_fn(|i| mix(old[i], INK[i], coverage.min(1.0)));
                }
            });
        }
    }
}
