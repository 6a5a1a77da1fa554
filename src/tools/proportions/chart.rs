//! Proportions as an image to look at.

use std::ops::Range;

use image::RgbImage;
use image::imageops::{rotate270, thumbnail};

use super::{Axis, Depths, Proportions, add, dominant};
use crate::base::{Result, require};
use crate::draw::axis::ticks;
use crate::draw::{FAINT, GAP, INK, LegendRow, LegendTable, PAPER, Text, draw_tables, fill, paste, tables_height};

/// Shortest and longest drawing of a core, in pixels.
const LENGTH: (usize, usize) = (640, 1600);
/// Lowest and highest drawing of its photograph: a thin core is stretched across, a broad one compressed.
const PHOTOGRAPH: (u32, u32) = (40, 400);
/// Height of the strip of dominant classes.
const STRIP: u32 = 28;
/// Height of the shares.
const SHARES: u32 = 240;
/// Length of the lines between an axis and its numbers.
const TICK: u32 = 6;
/// From the core down to the numbers, which keep clear of those on the left.
const DROP: u32 = TICK + 4;
/// Most numbers below the core.
const MOST_NUMBERS: usize = 12;
/// Where nothing is labelled.
const UNLABELLED: [u8; 3] = [225, 225, 225];
/// Numbers up the shares, in per cent.
const PER_CENTS: [u32; 5] = [0, 25, 50, 75, 100];

/// Numbers below the core, at pixels of the drawing, and what they mean.
struct Ruler {
    numbers: Vec<(u32, String)>,
    title: &'static str,
}

impl Ruler {
    /// As many round numbers as stand clear of each other over `length` pixels.
    fn new(proportions: &Proportions, depths: Option<Depths>, text: &Text, length: u32) -> Self {
        let (low, high) = depths.map_or((0.0, proportions.length() as f64), |depths| (depths.top, depths.bottom));
        let title = match (depths, proportions.axis) {
            (Some(_), _) => "depth in metres",
            (None, Axis::Horizontal) => "pixels from the left",
            (None, Axis::Vertical) => "pixels from the top",
        };
        // Pixels are whole.
        let most = if depths.is_some() { MOST_NUMBERS } else { MOST_NUMBERS.min(proportions.length()) };
        let numbers = |count| -> Vec<(u32, String)> {
            let ticks = ticks(low, high, count);
            let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1.0);
            let decimals = (-step.log10() - 1e-6).ceil().clamp(0.0, 9.0) as usize;
            let place = |tick: f64| ((tick - low) / (high - low) * f64::from(length)).round() as u32;
            ticks.into_iter().map(|tick| (place(tick), format!("{tick:.decimals$}"))).collect()
        };
        let clear = |numbers: &Vec<(u32, String)>| {
            let wide = |(_, number): &(u32, String)| text.width(number) * 3 / 2;
            numbers.windows(2).all(|pair| pair[1].0 - pair[0].0 > wide(&pair[0]).max(wide(&pair[1])))
        };
        Self { numbers: (1..=most).rev().map(numbers).find(clear).unwrap_or_default(), title }
    }

    fn draw(&self, canvas: &mut RgbImage, text: &Text, (left, top): (u32, u32), length: u32) {
        for (place, number) in &self.numbers {
            fill(canvas, (left + place, top), (1, TICK), INK);
            let half = text.width(number) / 2;
            text.draw(canvas, ((left + place).saturating_sub(half), top + DROP), number, INK);
        }
        let middle = left + length.saturating_sub(text.width(self.title)) / 2;
        text.draw(canvas, (middle, top + DROP + text.height() * 5 / 4), self.title, FAINT);
    }

    fn height(text: &Text) -> u32 {
        DROP + text.height() * 9 / 4
    }
}

/// Where the parts are, in pixels, from the top down.
struct Layout {
    text: Text,
    left: u32,
    length: u32,
    photograph: Option<Range<u32>>,
    strip: u32,
    shares: u32,
    ruler: u32,
    legend: u32,
}

impl Layout {
    fn new(proportions: &Proportions, photograph: bool) -> Self {
        let length = proportions.length().clamp(LENGTH.0, LENGTH.1) as u32;
        let text = Text::new((length as f32 / 80.0).clamp(14.0, 20.0));
        let names = ["photograph", "dominant", "100 %"].map(|name| text.width(name));
        let left = GAP + names.into_iter().max().unwrap_or(0) + TICK + GAP;
        let across = proportions.size.width * proportions.size.height / proportions.length();
        let height =
            (across * length as usize / proportions.length()).clamp(PHOTOGRAPH.0 as usize, PHOTOGRAPH.1 as usize);
        let photograph = photograph.then(|| 2 * GAP..2 * GAP + height as u32);
        let strip = photograph.as_ref().map_or(0, |rows| rows.end) + 2 * GAP;
        let shares = strip + STRIP + 2 * GAP;
        let ruler = shares + SHARES + 1;
        let legend = ruler + Ruler::height(&text) + 2 * GAP;
        Self { text, left, length, photograph, strip, shares, ruler, legend }
    }

    /// Pixels of the drawing for pixels of the core, of this many.
    fn columns(&self, range: &Range<usize>, length: usize) -> (u32, u32) {
        let place = |pixel: usize| (pixel * self.length as usize + length / 2) / length;
        (self.left + place(range.start) as u32, (place(range.end) - place(range.start)) as u32)
    }

    /// What a row is, before it; `middle` is that of the row.
    fn name_row(&self, canvas: &mut RgbImage, name: &str, middle: u32) {
        let left = (self.left - TICK - GAP).saturating_sub(self.text.width(name));
        self.text.draw(canvas, (left, middle.saturating_sub(self.text.height() / 2)), name, INK);
    }

    /// A frame around a part keeps light colours apart from the paper.
    fn frame(&self, canvas: &mut RgbImage, top: u32, height: u32) {
        fill(canvas, (self.left - 1, top - 1), (self.length + 2, height + 2), FAINT);
        fill(canvas, (self.left, top), (self.length, height), UNLABELLED);
    }
}

impl Proportions {
    /// From top to bottom: the photograph if there is one, the dominant classes, the shares of the classes (the first
    /// lowest), depths or pixels, and a legend with per cents of the whole core. An upright core is turned so that its
    /// upper end is on the left. A photograph must have the size of the classified image. Where nothing is labelled,
    /// it is grey. With more bins than pixels in the drawing, neighbours are put together.
    pub fn image(
        &self,
        photograph: Option<&RgbImage>,
        colors: &[[u8; 3]],
        names: &[String],
        depths: Option<Depths>,
    ) -> Result<RgbImage> {
        self.check("names", names.len())?;
        self.check("colours", colors.len())?;
        let layout = Layout::new(self, photograph.is_some());
        let ruler = Ruler::new(self, depths, &layout.text, layout.length);
        let legend = self.legend(colors, names);
        // The last number may stand out by half.
        let beyond = ruler.numbers.iter().map(|(_, number)| layout.text.width(number) / 2).max().unwrap_or(0);
        let width = layout.left + layout.length + GAP + beyond.max(GAP);
        let height = layout.legend + tables_height(&legend, &layout.text, layout.length);
        let mut canvas = RgbImage::from_pixel(width, height, PAPER);
        if let (Some(photograph), Some(rows)) = (photograph, &layout.photograph) {
            let scaled = self.scaled(photograph, layout.length, rows.end - rows.start)?;
            layout.name_row(&mut canvas, "photograph", (rows.start + rows.end) / 2);
            paste(&mut canvas, &scaled, (layout.left, rows.start));
        }
        self.merged(layout.length as usize).draw(&mut canvas, &layout, colors);
        ruler.draw(&mut canvas, &layout.text, (layout.left, layout.ruler), layout.length);
        draw_tables(&mut canvas, &legend, &layout.text, (layout.left, layout.legend), layout.length);
        Ok(canvas)
    }

    /// The photograph as it is drawn, from left to right.
    fn scaled(&self, photograph: &RgbImage, length: u32, height: u32) -> Result<RgbImage> {
        let (width, rows) = photograph.dimensions();
        let fits = (width as usize, rows as usize) == (self.size.width, self.size.height);
        let expected = format!("as large as its classes, {}", self.size);
        require(fits, "photograph", format!("{width}x{rows} pixels"), expected)?;
        Ok(match self.axis {
            Axis::Horizontal => thumbnail(photograph, length, height),
            Axis::Vertical => rotate270(&thumbnail(photograph, height, length)),
        })
    }

    /// At most this many bins, each of several neighbours.
    fn merged(&self, most: usize) -> Self {
        let together = (self.edges.len() - 1).div_ceil(most);
        let mut edges: Vec<usize> = self.edges[..self.edges.len() - 1].iter().step_by(together).copied().collect();
        edges.push(self.length());
        let sum = |bins: &[u64]| {
            let mut sums = vec![0; self.classes];
            bins.chunks_exact(self.classes).for_each(|counts| add(&mut sums, counts));
            sums
        };
        Self { edges, counts: self.counts.chunks(together * self.classes).flat_map(sum).collect(), ..*self }
    }

    /// The dominant classes and the shares.
    fn draw(&self, canvas: &mut RgbImage, layout: &Layout, colors: &[[u8; 3]]) {
        layout.frame(canvas, layout.strip, STRIP);
        layout.name_row(canvas, "dominant", layout.strip + STRIP / 2);
        layout.frame(canvas, layout.shares, SHARES);
        for per_cent in PER_CENTS {
            let y = layout.shares + SHARES - SHARES * per_cent / 100;
            fill(canvas, (layout.left - 1 - TICK, y.min(layout.shares + SHARES - 1)), (TICK, 1), INK);
            layout.name_row(canvas, &format!("{per_cent} %"), y);
        }
        for (range, counts) in self.bins() {
            let (left, width) = layout.columns(&range, self.length());
            if let Some(class) = dominant(counts) {
                fill(canvas, (left, layout.strip), (width, STRIP), colors[class]);
            }
            let pixels: u64 = counts.iter().sum();
            let mut below = 0;
            for (count, color) in counts.iter().zip(colors).filter(|(count, _)| **count > 0) {
                let y = |count: u64| layout.shares + SHARES - share(count, pixels);
                let (bottom, top) = (y(below), y(below + count));
                fill(canvas, (left, top), (width, bottom - top), *color);
                below += count;
            }
        }
    }

    /// The classes that occur, and what grey means.
    fn legend(&self, colors: &[[u8; 3]], names: &[String]) -> Vec<LegendTable> {
        let totals = self.totals();
        let pixels: u64 = totals.iter().sum();
        let present = totals.iter().zip(names).zip(colors).filter(|((total, _), _)| **total > 0);
        let rows: Vec<LegendRow> = present
            .map(|((total, name), color)| LegendRow {
                color: Some(*color),
                name: name.clone(),
                values: vec![format!("{:.1} %", 100.0 * *total as f64 / pixels as f64)],
            })
            .collect();
        let classes = LegendTable { columns: vec!["share".into()], rows };
        let grey = LegendRow { color: Some(UNLABELLED), name: "not labelled".into(), values: Vec::new() };
        let others = LegendTable { columns: Vec::new(), rows: vec![grey] };
        let tables = [(pixels > 0, classes), (self.bins().any(|(_, counts)| dominant(counts).is_none()), others)];
        tables.into_iter().filter(|(present, _)| *present).map(|(_, table)| table).collect()
    }
}

/// A part of the chart's height.
fn share(count: u64, pixels: u64) -> u32 {
    (count as f64 / pixels as f64 * f64::from(SHARES)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::base::label_map::{IGNORE, LabelMap};

    const COLORS: [[u8; 3]; 3] = [[200, 0, 0], [0, 200, 0], [0, 0, 200]];

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("class {i}")).collect()
    }

    fn proportions(size: Size, bins: usize, class: impl Fn(usize, usize) -> u16) -> Proportions {
        let classes = (0..size.width * size.height).map(|i| class(i % size.width, i / size.width)).collect();
        Proportions::of(&LabelMap { size, classes }, 3, Axis::longer(size), bins).unwrap()
    }

    /// Of three bins: a quarter 0 and the rest 2; class 1; nothing.
    fn thirds(along: usize, across: usize) -> u16 {
        match along / 100 {
            0 if across == 0 => 0,
            0 => 2,
            1 => 1,
            _ => IGNORE,
        }
    }

    #[test]
    fn shares_have_their_colours_and_heights_whichever_way_the_core_lies() {
        let (lying, upright) = (Size { width: 300, height: 4 }, Size { width: 4, height: 300 });
        let lying = proportions(lying, 3, thirds);
        let upright = proportions(upright, 3, |x, y| thirds(y, x));
        for proportions in [lying, upright] {
            let layout = Layout::new(&proportions, false);
            let image = proportions.image(None, &COLORS, &names(3), None).unwrap();
            let at = |third: u32, y| image.get_pixel(layout.left + layout.length * (2 * third + 1) / 6, y).0;
            let share = |third, part: f64| at(third, layout.shares + ((1.0 - part) * f64::from(SHARES)) as u32);
            assert_eq!([0, 1, 2].map(|third| at(third, layout.strip)), [COLORS[2], COLORS[1], UNLABELLED]);
            assert_eq!([0.01, 0.24, 0.26, 1.0].map(|p| share(0, p)), [COLORS[0], COLORS[0], COLORS[2], COLORS[2]]);
            assert_eq!([0.01, 1.0].map(|p| share(1, p)), [COLORS[1]; 2]);
            assert_eq!([0.01, 1.0].map(|p| share(2, p)), [UNLABELLED; 2]);
        }
    }

    #[test]
    fn an_upright_photograph_is_turned() {
        let proportions = proportions(Size { width: 8, height: 800 }, 8, |_, _| 0);
        let shade = |y: u32| if y < 400 { [10, 20, 30] } else { [90, 80, 70] };
        let photograph = RgbImage::from_fn(8, 800, |_, y| image::Rgb(shade(y)));
        let image = proportions.image(Some(&photograph), &COLORS, &names(3), None).unwrap();
        let layout = Layout::new(&proportions, true);
        let row = layout.photograph.unwrap().start;
        assert_eq!(image.get_pixel(layout.left, row).0, shade(0));
        assert_eq!(image.get_pixel(layout.left + layout.length - 1, row).0, shade(799));
        assert!(proportions.image(Some(&RgbImage::new(800, 8)), &COLORS, &names(3), None).is_err());
        assert!(proportions.image(None, &COLORS[..2], &names(3), None).is_err());
    }

    #[test]
    fn bins_beyond_the_pixels_of_the_drawing_are_put_together() {
        let proportions = proportions(Size { width: 5000, height: 1 }, 5000, |x, _| (x % 2) as u16);
        let merged = proportions.merged(1600);
        assert_eq!(merged.bins().next().unwrap(), (0..4, &[2, 2, 0][..]));
        assert_eq!((merged.bins().count(), merged.totals()), (1250, proportions.totals()));
        assert_eq!(merged.merged(1600), merged);
        let layout = Layout::new(&proportions, false);
        let image = proportions.image(None, &COLORS, &names(3), None).unwrap();
        let column = |x| [layout.shares, layout.shares + SHARES - 1].map(|y| image.get_pixel(layout.left + x, y).0);
        assert!((0..layout.length).all(|x| column(x) == [COLORS[1], COLORS[0]]));
    }

    #[test]
    fn numbers_are_round_and_within_the_core() {
        let numbers = |length: usize, depths: Option<Depths>| -> Vec<String> {
            let proportions = proportions(Size { width: length, height: 1 }, 1, |_, _| 0);
            let ruler = Ruler::new(&proportions, depths, &Text::new(20.0), 1600);
            assert!(ruler.numbers.iter().all(|(place, _)| *place <= 1600));
            ruler.numbers.into_iter().map(|(_, number)| number).collect()
        };
        let depths = |top, bottom| Some(Depths::new(top, bottom).unwrap());
        assert_eq!(numbers(4464, depths(120.0, 121.25))[..3], ["120.0", "120.1", "120.2"]);
        assert_eq!(numbers(4464, depths(0.3, 60.0))[..2], ["5", "10"]);
        assert_eq!(numbers(1, None), ["0", "1"]);
        assert_eq!(numbers(3, None), ["0", "1", "2", "3"]);
        assert_eq!(numbers(4464, depths(f64::MIN, f64::MAX)).len(), 1);
    }

    #[test]
    fn any_core_can_be_drawn() {
        for (width, height) in [(1, 1), (1, 50), (3000, 3000), (20000, 3)] {
            let proportions = proportions(Size { width, height }, 40, |_, _| IGNORE);
            let photograph = RgbImage::new(width as u32, height as u32);
            assert!(proportions.image(Some(&photograph), &COLORS, &names(3), None).is_ok());
        }
    }
}
