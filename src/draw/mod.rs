//! Images for people: colours for classes, panels side by side, legends in real text, matrices.

pub(crate) mod axis;
mod class_legend;
mod color_bar;
mod compose;
mod curves;
mod figure;
mod file;
mod heatmap;
mod legend;
mod panels;
mod ramp;
mod shown;
mod size;
mod text;

pub use color_bar::{color_bar_width, with_color_bar};
pub use compose::compose;
pub(crate) use curves::{Curve, CurvePanel, Room, draw_curves};
pub use figure::{Figure, Frame, Layout, Panel, figure, panels_width, stack};
pub use file::{FigureFormat, encode_figure, encode_jpeg, write_png};
pub use heatmap::heatmap;
pub use legend::{LegendRow, LegendTable};
pub(crate) use legend::{draw_tables, tables_height};
pub use panels::{Judgement, color_labels, color_probabilities, judge, overlay_labels};
pub use shown::{Classes, Paint, Shown, Style};
pub(crate) use text::{FAINT, INK, Text};

use image::{Rgb, RgbImage};

/// Between panels, in pixels.
pub(crate) const GAP: u32 = 8;
pub(crate) const PAPER: Rgb<u8> = Rgb([255, 255, 255]);

/// Fills a rectangle, as far as it lies on the canvas.
pub(crate) fn fill(canvas: &mut RgbImage, (left, top): (u32, u32), (width, height): (u32, u32), color: [u8; 3]) {
    let (right, bottom) = ((left + width).min(canvas.width()), (top + height).min(canvas.height()));
    let row = 3 * canvas.width() as usize;
    let samples: &mut [u8] = canvas;
    for line in samples.chunks_exact_mut(row.max(3)).take(bottom as usize).skip(top as usize) {
        line[3 * left.min(right) as usize..3 * right as usize].as_chunks_mut::<3>().0.fill(color);
    }
}

/// Copies an image to a place of the canvas, as far as it lies on it; row by row, which is several times as fast as
/// `image` does it.
pub(crate) fn paste(canvas: &mut RgbImage, image: &RgbImage, (left, top): (u32, u32)) {
    let (width, height) = canvas.dimensions();
    let columns = image.width().min(width.saturating_sub(left)) as usize;
    if columns == 0 || top >= height {
        return;
    }
    let (row, from_row) = (3 * width as usize, 3 * image.width() as usize);
    let samples: &mut [u8] = canvas;
    let lines = samples.chunks_exact_mut(row).skip(top as usize);
    for (line, from) in lines.zip(image.as_raw().chunks_exact(from_row)) {
        line[3 * left as usize..][..3 * columns].copy_from_slice(&from[..3 * columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_pasted_and_rectangles_filled_as_far_as_they_fit() {
        let mut canvas = RgbImage::new(3, 2);
        paste(&mut canvas, &RgbImage::from_pixel(2, 2, PAPER), (2, 1));
        paste(&mut canvas, &RgbImage::from_pixel(2, 2, PAPER), (3, 0));
        paste(&mut canvas, &RgbImage::from_pixel(2, 2, PAPER), (0, 2));
        fill(&mut canvas, (1, 0), (9, 1), [7; 3]);
        fill(&mut canvas, (5, 5), (1, 1), [9; 3]);
        let grey: Vec<u8> = canvas.pixels().map(|p| p.0[0]).collect();
        assert_eq!(grey, [0, 7, 7, 0, 0, 255]);
    }
}
