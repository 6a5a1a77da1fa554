//! Panels side by side, with titles and legends.

use image::RgbImage;

use super::legend::{LegendRow, LegendTable, draw_tables, tables_height};
use super::text::{INK, Text};
use super::{GAP, PAPER, paste};

/// One of the pictures of a figure.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The pixels.
    pub picture: RgbImage,
}

/// What stands around the panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frame {
    /// Nothing: edge to edge, as pictures are compared pixel by pixel.
    #[default]
    None,
    /// White gaps.
    Gaps,
    /// White gaps, and titles above.
    Titles,
}

/// Panels in a row, with what explains them.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    /// From left to right.
    pub panels: Vec<Panel>,
    /// What stands around them.
    pub frame: Frame,
    /// Legends, below each other under the panels.
    pub legends: Vec<LegendTable>,
    /// The figure is not widened beyond this for its text, in pixels: names are shortened instead.
    pub max_width: Option<u32>,
}

/// Width of panels in a row, with the gaps of a frame.
pub fn panels_width(widths: &[u32], frame: Frame) -> u32 {
    let gaps = if frame == Frame::None { 0 } else { GAP * (widths.len() as u32 + 1) };
    widths.iter().sum::<u32>() + gaps
}

/// Draws a figure on white. Text grows with its width.
pub fn figure(figure: &Figure) -> RgbImage {
    let margin = if figure.frame == Frame::None { 0 } else { GAP };
    let widths: Vec<u32> = figure.panels.iter().map(|p| p.picture.width()).collect();
    let text = Text::new((panels_width(&widths, figure.frame) as f32 / 75.0).clamp(14.0, 40.0));
    let cells = cell_widths(figure, &text);
    let legend_margin = if figure.legends.is_empty() { 0 } else { GAP };
    let least = figure.legends.iter().map(|table| table.least_width(&text) + 2 * GAP).max().unwrap_or(0);
    let row = panels_width(&cells, figure.frame);
    let width = row.max(least.min(figure.max_width.unwrap_or(u32::MAX)));
    let top = if figure.frame == Frame::Titles { text.height() + GAP } else { margin };
    let tallest = figure.panels.iter().map(|p| p.picture.height()).max().unwrap_or(0);
    let legend_width = width.saturating_sub(2 * GAP);
    let legend_top = top + tallest + margin + legend_margin;
    let height = legend_top + tables_height(&figure.legends, &text, legend_width);
    let mut canvas = RgbImage::from_pixel(width, height, PAPER);
    let mut left = margin;
    for (panel, cell) in figure.panels.iter().zip(cells) {
        if figure.frame == Frame::Titles {
            let title = text.fitted(&panel.title, cell);
            text.draw(&mut canvas, (left + (cell - text.width(&title).min(cell)) / 2, GAP / 2), &title, INK);
        }
        let indent = (cell - panel.picture.width()) / 2;
        paste(&mut canvas, &panel.picture, (left + indent, top));
        left += cell + margin;
    }
    draw_tables(&mut canvas, &figure.legends, &text, (GAP, legend_top), legend_width);
    canvas
}

/// Room for each panel and its title, as far as the whole width allows.
fn cell_widths(figure: &Figure, text: &Text) -> Vec<u32> {
    let widths: Vec<u32> = figure.panels.iter().map(|p| p.picture.width()).collect();
    if figure.frame != Frame::Titles {
        return widths;
    }
    let cells: Vec<u32> = figure.panels.iter().map(|p| p.picture.width().max(text.width(&p.title))).collect();
    let fits = figure.max_width.is_none_or(|most| panels_width(&cells, figure.frame) <= most);
    if fits { cells } else { widths }
}

/// Names and colours that a picture is read by.
#[derive(Debug, Clone, Default)]
pub struct Legend {
    /// Name and colour, in the order drawn.
    pub entries: Vec<(String, [u8; 3])>,
}

/// Titled panels in a row on white, with a legend below.
pub fn side_by_side(panels: &[(&str, RgbImage)], legend: &Legend) -> RgbImage {
    let row =
        |(name, color): &(String, [u8; 3])| LegendRow { color: Some(*color), name: name.clone(), values: Vec::new() };
    let rows: Vec<LegendRow> = legend.entries.iter().map(row).collect();
    let legends = if rows.is_empty() { Vec::new() } else { vec![LegendTable { columns: Vec::new(), rows }] };
    let panel = |(title, picture): &(&str, RgbImage)| Panel { title: (*title).to_owned(), picture: picture.clone() };
    figure(&Figure { panels: panels.iter().map(panel).collect(), frame: Frame::Titles, legends, max_width: None })
}

/// Pictures one below the other, on white.
pub fn stack(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(0);
    let height = pictures.iter().map(|p| p.height() + GAP).sum::<u32>().saturating_sub(GAP);
    let mut canvas = RgbImage::from_pixel(width, height, PAPER);
    let mut top = 0;
    for picture in pictures {
        paste(&mut canvas, picture, (0, top));
        top += picture.height() + GAP;
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels(width: u32, count: usize) -> Vec<Panel> {
        let panel = |_| Panel { title: "prediction".into(), picture: RgbImage::new(width, 20) };
        (0..count).map(panel).collect()
    }

    #[test]
    fn without_a_frame_panels_touch() {
        let drawn = figure(&Figure { panels: panels(30, 3), ..Figure::default() });
        assert_eq!(drawn.dimensions(), (90, 20));
        assert!(drawn.pixels().all(|p| p.0 == [0; 3]));
    }

    #[test]
    fn titles_have_room_unless_the_width_is_limited() {
        let titled = Figure { panels: panels(30, 3), frame: Frame::Titles, ..Figure::default() };
        assert!(figure(&titled).width() > 3 * 50);
        let limited = figure(&Figure { max_width: Some(130), ..titled });
        assert_eq!(limited.width(), 3 * 30 + 4 * GAP);
        assert!(limited.height() > 20 + GAP);
    }
}
