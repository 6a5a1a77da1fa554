//! Legends: colours, names and numbers in columns.

use image::RgbImage;

use super::text::{FAINT, INK, Text};
use super::{GAP, fill};

/// Names longer than this many line heights are shortened.
const LONGEST_NAME: u32 = 12;

/// One line of a legend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegendRow {
    /// Its colour; a line without one says something about several.
    pub color: Option<[u8; 3]>,
    /// What the colour means.
    pub name: String,
    /// What else is known, one text for each of the table's columns.
    pub values: Vec<String>,
}

/// A legend of which every line says the same kind of things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegendTable {
    /// Headings of the values; none for names alone.
    pub columns: Vec<String>,
    /// The lines, read down the columns of the image.
    pub rows: Vec<LegendRow>,
}

/// Where the parts of a table go, in pixels.
struct Placed<'a> {
    table: &'a LegendTable,
    text: &'a Text,
    name_width: u32,
    value_widths: Vec<u32>,
    /// Lines below each other, without the heading.
    lines: usize,
}

impl LegendTable {
    /// The width that one column needs to show every name.
    pub(super) fn least_width(&self, text: &Text) -> u32 {
        Placed::new(self, text, u32::MAX).entry_width()
    }
}

impl<'a> Placed<'a> {
    /// Lays the lines out in as many columns as `width` has room for.
    fn new(table: &'a LegendTable, text: &'a Text, width: u32) -> Self {
        let height = text.height();
        let longest = table.rows.iter().map(|row| text.width(&row.name)).max().unwrap_or(0);
        let value_width = |column: usize| {
            let values = table.rows.iter().filter_map(|row| row.values.get(column));
            values.chain(&table.columns[column..=column]).map(|value| text.width(value)).max().unwrap_or(0)
        };
        let value_widths = (0..table.columns.len()).map(value_width).collect();
        let name_width = longest.min(LONGEST_NAME * height);
        let mut placed = Self { table, text, name_width, value_widths, lines: 1 };
        placed.name_width = name_width.min(width.saturating_sub(placed.entry_width() - name_width));
        let columns = (width.saturating_add(placed.between()) / placed.stride()).max(1) as usize;
        placed.lines = table.rows.len().div_ceil(columns).max(1);
        placed
    }

    fn swatch(&self) -> u32 {
        self.text.height() * 3 / 4
    }

    /// From the left edge of an entry to its name.
    fn indent(&self) -> u32 {
        self.swatch() + self.text.height() / 3
    }

    /// Before a value.
    fn space(&self) -> u32 {
        self.text.height() * 2 / 3
    }

    fn between(&self) -> u32 {
        self.text.height() * 3 / 2
    }

    fn entry_width(&self) -> u32 {
        let values: u32 = self.value_widths.iter().map(|width| self.space() + width).sum();
        self.indent() + self.name_width + values
    }

    fn stride(&self) -> u32 {
        self.entry_width() + self.between()
    }

    fn line_height(&self) -> u32 {
        self.text.height() * 5 / 4
    }

    fn height(&self) -> u32 {
        let heading = usize::from(!self.table.columns.is_empty());
        (self.lines + heading) as u32 * self.line_height()
    }

    fn draw(&self, canvas: &mut RgbImage, (left, top): (u32, u32)) {
        for (column, rows) in self.table.rows.chunks(self.lines).enumerate() {
            let left = left + column as u32 * self.stride();
            let mut top = top;
            if !self.table.columns.is_empty() {
                self.draw_values(canvas, (left, top), &self.table.columns, FAINT);
                top += self.line_height();
            }
            for row in rows {
                self.draw_row(canvas, (left, top), row);
                top += self.line_height();
            }
        }
    }

    fn draw_row(&self, canvas: &mut RgbImage, (left, top): (u32, u32), row: &LegendRow) {
        if let Some(color) = row.color {
            let (side, down) = (self.swatch(), (self.text.height() - self.swatch()) / 2);
            // A rim keeps light colours apart from the paper.
            fill(canvas, (left, top + down), (side, side), FAINT);
            fill(canvas, (left + 1, top + down + 1), (side.saturating_sub(2), side.saturating_sub(2)), color);
        }
        self.text.draw(canvas, (left + self.indent(), top), &self.text.fitted(&row.name, self.name_width), INK);
        self.draw_values(canvas, (left, top), &row.values, INK);
    }

    /// Values end at the right edge of their column, so that their digits stand below each other.
    fn draw_values(&self, canvas: &mut RgbImage, (left, top): (u32, u32), values: &[String], ink: [u8; 3]) {
        let mut right = left + self.indent() + self.name_width;
        for (value, width) in values.iter().zip(&self.value_widths) {
            right += self.space() + width;
            self.text.draw(canvas, (right - self.text.width(value).min(*width), top), value, ink);
        }
    }
}

/// Tables below each other: the height they need in `width`.
pub(crate) fn tables_height(tables: &[LegendTable], text: &Text, width: u32) -> u32 {
    tables.iter().map(|table| Placed::new(table, text, width).height() + GAP).sum()
}

/// Draws tables below each other from `(left, top)`.
pub(crate) fn draw_tables(
    canvas: &mut RgbImage,
    tables: &[LegendTable],
    text: &Text,
    (left, mut top): (u32, u32),
    width: u32,
) {
    for table in tables {
        let placed = Placed::new(table, text, width);
        placed.draw(canvas, (left, top));
        top += placed.height() + GAP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::PAPER;

    fn table(names: &[&str]) -> LegendTable {
        let row = |name: &&str| LegendRow {
            color: Some([0, 200, 0]),
            name: (*name).to_owned(),
            values: vec!["12.5 %".to_owned()],
        };
        LegendTable { columns: vec!["prediction".to_owned()], rows: names.iter().map(row).collect() }
    }

    #[test]
    fn lines_wrap_to_the_width() {
        let text = Text::new(16.0);
        let names = table(&["sand", "salt", "shale", "fault", "water"]);
        let one = names.least_width(&text);
        assert_eq!([1, 3, 20].map(|times| Placed::new(&names, &text, times * one).lines), [5, 3, 1]);
    }

    #[test]
    fn nothing_is_drawn_beyond_a_narrow_column() {
        let text = Text::new(16.0);
        let names = table(&["a class whose name is much too long for its column", "b"]);
        let width = names.least_width(&text) / 2;
        let mut canvas = RgbImage::from_pixel(2 * width, 200, PAPER);
        Placed::new(&names, &text, width).draw(&mut canvas, (0, 0));
        assert!(canvas.enumerate_pixels().all(|(x, _, p)| x <= width || p == &PAPER));
        assert!(canvas.pixels().any(|p| p.0 == [0, 200, 0]));
    }
}
