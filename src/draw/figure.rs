//! Panels side by side or one below the other, with titles and legends.

use image::RgbImage;

use super::legend::{LegendTable, draw_tables, tables_height};
use super::text::{INK, Text};
use super::{GAP, PAPER, paste};
use crate::base::named_enum::named_enum;

/// One of the images of a figure.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The pixels.
    pub image: RgbImage,
}

/// What stands around the panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frame {
    /// Nothing: edge to edge, as images are compared pixel by pixel.
    #[default]
    None,
    /// White gaps.
    Gaps,
    /// White gaps, and titles above.
    Titles,
}

/// How panels are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// From left to right.
    #[default]
    Horizontal,
    /// From top to bottom, for images much wider than high, such as cores.
    Vertical,
}

named_enum!(Layout, "layout", "horizontal" => Horizontal, "vertical" => Vertical);

/// Panels in a row or a column, with what explains them.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    /// In the order of the layout.
    pub panels: Vec<Panel>,
    /// How they are arranged.
    pub layout: Layout,
    /// What stands around them.
    pub frame: Frame,
    /// Legends, below each other under the panels.
    pub legends: Vec<LegendTable>,
    /// The figure is not widened beyond this for its text, in pixels: names are shortened instead.
    pub max_width: Option<u32>,
}

/// Width of panels in their layout, with the gaps of a frame.
pub fn panels_width(widths: &[u32], frame: Frame, layout: Layout) -> u32 {
    let (columns, widths) = match layout {
        Layout::Horizontal => (widths.len() as u32, widths.iter().sum::<u32>()),
        Layout::Vertical => (1, widths.iter().copied().max().unwrap_or(0)),
    };
    widths + if frame == Frame::None { 0 } else { GAP * (columns + 1) }
}

/// Draws a figure on white. Text grows with its width.
pub fn figure(figure: &Figure) -> RgbImage {
    let widths: Vec<u32> = figure.panels.iter().map(|p| p.image.width()).collect();
    let text = Text::new((panels_width(&widths, figure.frame, figure.layout) as f32 / 75.0).clamp(14.0, 40.0));
    let cells = cell_widths(figure, &text);
    let least = figure.legends.iter().map(|table| table.least_width(&text) + 2 * GAP).max().unwrap_or(0);
    let width = panels_width(&cells, figure.frame, figure.layout).max(least.min(figure.max_width.unwrap_or(u32::MAX)));
    let (places, bottom) = places(figure, &cells, text.height());
    let legend_width = width.saturating_sub(2 * GAP);
    let legend_top = bottom + if figure.legends.is_empty() { 0 } else { GAP };
    let height = legend_top + tables_height(&figure.legends, &text, legend_width);
    let mut canvas = RgbImage::from_pixel(width, height, PAPER);
    for (panel, place) in figure.panels.iter().zip(places) {
        if figure.frame == Frame::Titles {
            let title = text.fitted(&panel.title, place.cell);
            let indent = (place.cell - text.width(&title).min(place.cell)) / 2;
            text.draw(&mut canvas, (place.left + indent, place.top + GAP / 2), &title, INK);
        }
        paste(&mut canvas, &panel.image, place.image);
    }
    draw_tables(&mut canvas, &figure.legends, &text, (GAP, legend_top), legend_width);
    canvas
}

/// Where a panel goes.
struct Place {
    /// The corner and the width of the room for it and its title.
    left: u32,
    top: u32,
    cell: u32,
    /// The corner of the image.
    image: (u32, u32),
}

/// The places of the panels, and where they end below.
fn places(figure: &Figure, cells: &[u32], text_height: u32) -> (Vec<Place>, u32) {
    let margin = if figure.frame == Frame::None { 0 } else { GAP };
    let above = if figure.frame == Frame::Titles { text_height + GAP } else { margin };
    let (mut left, mut top, mut bottom) = (margin, 0, 0);
    let mut places = Vec::with_capacity(cells.len());
    for (panel, &cell) in figure.panels.iter().zip(cells) {
        let indent = (cell - panel.image.width()) / 2;
        places.push(Place { left, top, cell, image: (left + indent, top + above) });
        let end = top + above + panel.image.height();
        bottom = bottom.max(end);
        match figure.layout {
            Layout::Horizontal => left += cell + margin,
            Layout::Vertical => top = end,
        }
    }
    (places, bottom + margin)
}

/// Room for each panel and its title, as far as the whole width allows.
fn cell_widths(figure: &Figure, text: &Text) -> Vec<u32> {
    let widths: Vec<u32> = figure.panels.iter().map(|p| p.image.width()).collect();
    if figure.frame != Frame::Titles {
        return widths;
    }
    let cells: Vec<u32> = figure.panels.iter().map(|p| p.image.width().max(text.width(&p.title))).collect();
    let fits = figure.max_width.is_none_or(|most| panels_width(&cells, figure.frame, figure.layout) <= most);
    if fits { cells } else { widths }
}

/// Images one below the other, on white.
pub fn stack(images: &[RgbImage]) -> RgbImage {
    let width = images.iter().map(RgbImage::width).max().unwrap_or(0);
    let height = images.iter().map(|p| p.height() + GAP).sum::<u32>().saturating_sub(GAP);
    let mut canvas = RgbImage::from_pixel(width, height, PAPER);
    let mut top = 0;
    for image in images {
        paste(&mut canvas, image, (0, top));
        top += image.height() + GAP;
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels(width: u32, count: usize) -> Vec<Panel> {
        (0..count).map(|_| Panel { title: "prediction".into(), image: RgbImage::new(width, 20) }).collect()
    }

    #[test]
    fn without_a_frame_panels_touch() {
        let drawn = figure(&Figure { panels: panels(30, 3), ..Figure::default() });
        assert_eq!(drawn.dimensions(), (90, 20));
        assert!(drawn.pixels().all(|p| p.0 == [0; 3]));
    }

    #[test]
    fn a_column_is_as_wide_as_its_widest_panel() {
        let panels = [panels(30, 1), panels(50, 1)].concat();
        let column = Figure { panels, layout: Layout::Vertical, ..Figure::default() };
        assert_eq!(figure(&column).dimensions(), (50, 40));
        let gaps = figure(&Figure { frame: Frame::Gaps, ..column.clone() });
        assert_eq!(gaps.dimensions(), (50 + 2 * GAP, 40 + 3 * GAP));
        let titled = figure(&Figure { frame: Frame::Titles, ..column });
        assert!(titled.height() > 40 + 3 * GAP && titled.width() >= 50 + 2 * GAP, "{:?}", titled.dimensions());
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
