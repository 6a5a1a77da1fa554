//! A confusion matrix as an image.

use image::RgbImage;

use super::ramp::Ramp;
use super::text::{FAINT, INK, Text};
use super::{GAP, PAPER, fill, paste};

/// Width and height that the cells fill together, where their size allows.
const SIDE: u32 = 720;
/// Smallest and largest cell.
const CELL: (u32, u32) = (12, 96);
/// With more classes, cells are too small for numbers.
const MOST_NUMBERS: usize = 30;
/// Longest class name, in line heights.
const LONGEST_NAME: u32 = 11;
/// Between cells, and where a label does not occur.
const GRID: [u8; 3] = [222, 222, 222];

/// Sizes of a matrix of this many classes, in pixels.
struct Layout {
    cell: u32,
    names: Text,
    numbers: Text,
    titles: Text,
    /// Room for class names, left and above.
    name_room: u32,
    /// Upper left corner of the first cell.
    corner: (u32, u32),
    /// Side of all cells.
    side: u32,
}

impl Layout {
    fn new(names: &[String], title: &str) -> Self {
        let cell = (SIDE / names.len().max(1) as u32).clamp(CELL.0, CELL.1);
        let side = cell * names.len() as u32 + 1;
        let text = Text::new((cell as f32 * 0.9).clamp(11.0, 20.0));
        let titles = Text::new((side as f32 / 36.0).clamp(18.0, 30.0));
        let longest = names.iter().map(|name| text.width(name)).max().unwrap_or(0);
        let name_room = longest.min(LONGEST_NAME * text.height());
        let title_room = if title.is_empty() { 0 } else { titles.height() + GAP };
        let before = titles.height() + 2 * GAP + name_room + GAP;
        Self {
            cell,
            names: text,
            numbers: Text::new((cell as f32 * 0.5).clamp(11.0, 18.0)),
            titles,
            name_room,
            corner: (before, title_room + before),
            side,
        }
    }

    /// Upper left corner of a cell.
    fn place(&self, row: usize, column: usize) -> (u32, u32) {
        (self.corner.0 + column as u32 * self.cell, self.corner.1 + row as u32 * self.cell)
    }
}

/// Draws a confusion matrix whose rows (labels) are shared out over its columns (predictions): `shares` holds
/// `names.len()` squared values from 0 to 1, row by row, NaN in the rows of labels that do not occur. White is 0, dark
/// blue is 1; with up to 30 classes the cells hold per cents. `title` stands above; it may be empty.
pub fn heatmap(names: &[String], shares: &[f64], title: &str) -> RgbImage {
    let layout = Layout::new(names, title);
    let (left, top) = layout.corner;
    let least = GAP + layout.titles.width(title) + GAP;
    let mut canvas =
        RgbImage::from_pixel((left + layout.side + 2 * GAP).max(least), top + layout.side + 2 * GAP, PAPER);
    layout.titles.draw(&mut canvas, (GAP, GAP), title, INK);
    draw_axes(&mut canvas, &layout);
    draw_names(&mut canvas, &layout, names);
    fill(&mut canvas, layout.corner, (layout.side, layout.side), GRID);
    let ramp = Ramp::white_to_blue();
    for (row, line) in shares.chunks_exact(names.len().max(1)).enumerate() {
        for (column, &share) in line.iter().enumerate().filter(|(_, share)| !share.is_nan()) {
            let place = layout.place(row, column);
            let inner = layout.cell - 1;
            fill(&mut canvas, (place.0 + 1, place.1 + 1), (inner, inner), ramp.color(share as f32));
            if names.len() <= MOST_NUMBERS {
                draw_number(&mut canvas, &layout, place, share);
            }
        }
    }
    canvas
}

fn draw_axes(canvas: &mut RgbImage, layout: &Layout) {
    let (left, top) = layout.corner;
    let centred = |start: u32, name: &str| start + layout.side.saturating_sub(layout.titles.width(name)) / 2;
    let above = top - layout.name_room - 2 * GAP - layout.titles.height();
    layout.titles.draw(canvas, (centred(left, "prediction"), above), "prediction", FAINT);
    paste(canvas, &layout.titles.upwards("label", FAINT), (GAP, centred(top, "label")));
}

fn draw_names(canvas: &mut RgbImage, layout: &Layout, names: &[String]) {
    let (left, top) = layout.corner;
    let middle = layout.cell.saturating_sub(layout.names.height()) / 2;
    for (i, name) in names.iter().enumerate() {
        let name = layout.names.fitted(name, layout.name_room);
        let (x, y) = layout.place(i, i);
        let before = layout.names.width(&name).min(left - GAP);
        layout.names.draw(canvas, (left - GAP - before, y + middle), &name, INK);
        let upwards = layout.names.upwards(&name, INK);
        paste(canvas, &upwards, (x + middle, (top - GAP).saturating_sub(upwards.height())));
    }
}

/// The per cent of a cell; nothing where there is none at all.
fn draw_number(canvas: &mut RgbImage, layout: &Layout, (left, top): (u32, u32), share: f64) {
    let per_cent = 100.0 * share;
    let long = format!("{per_cent:.1}");
    let roomy = layout.numbers.width("100.0") + 4 < layout.cell;
    let text = match share {
        0.0 => return,
        _ if roomy => long,
        _ if per_cent < 0.5 => return,
        _ => format!("{per_cent:.0}"),
    };
    let indent = layout.cell.saturating_sub(layout.numbers.width(&text)) / 2;
    let down = layout.cell.saturating_sub(layout.numbers.height()) / 2;
    let ink = if share > 0.45 { [255; 3] } else { INK };
    layout.numbers.draw(canvas, (left + indent, top + down), &text, ink);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Right in nine of ten pixels, the rest in the next class; the last label does not occur.
    fn drawn(classes: usize) -> (RgbImage, Layout) {
        let names: Vec<String> = (0..classes).map(|i| format!("class number {i}")).collect();
        let share = |i: usize| match (i / classes, i % classes) {
            (row, _) if row + 1 == classes => f64::NAN,
            (row, column) if row == column => 0.9,
            (row, column) if row + 1 == column => 0.1,
            _ => 0.0,
        };
        let shares: Vec<f64> = (0..classes * classes).map(share).collect();
        (heatmap(&names, &shares, "test"), Layout::new(&names, "test"))
    }

    #[test]
    fn cells_are_coloured_by_row_and_column() {
        for classes in [2, 12, 150] {
            let (image, layout) = drawn(classes);
            let at = |row, column| {
                let (x, y) = layout.place(row, column);
                image.get_pixel(x + 2, y + 2).0
            };
            let ramp = Ramp::white_to_blue();
            assert_eq!([at(0, 0), at(0, 1)], [ramp.color(0.9), ramp.color(0.1)]);
            assert_eq!(at(classes - 1, 0), GRID);
            assert!(image.width() < 2200 && image.width() > 250, "{}", image.width());
        }
    }

    #[test]
    fn numbers_are_drawn_where_there_is_room() {
        let ink = |classes: usize| {
            let (image, layout) = drawn(classes);
            let (x, y) = layout.place(0, 1);
            let cell = image::imageops::crop_imm(&image, x + 2, y + 2, layout.cell - 3, layout.cell - 3).to_image();
            cell.pixels().any(|p| p.0[0] < 100)
        };
        assert!(ink(2) && ink(12) && ink(30) && !ink(31) && !ink(150));
    }
}
