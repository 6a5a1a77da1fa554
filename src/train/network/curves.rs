//! `curves.png`: losses, scores and learning rate over the epochs.

use std::ops::Range;
use std::path::Path;

use image::RgbImage;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::register_font;

use crate::base::{Error, Result};
use crate::draw::curve_axis as axis;
use crate::draw::write_png;
use crate::run::Row;

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;
type Failure = Box<dyn std::error::Error>;
type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

const WIDTH: u32 = 960;
/// Heights of the panels. The lowest has the axis of the epochs, too.
const LOSS_HEIGHT: u32 = 300;
const SCORE_HEIGHT: u32 = 240;
const RATE_HEIGHT: u32 = 190;
const EPOCH_AXIS: u32 = 48;

const BLUE: RGBColor = RGBColor(31, 107, 178);
const ORANGE: RGBColor = RGBColor(214, 90, 30);
const GREEN: RGBColor = RGBColor(44, 140, 88);
const GREY: RGBColor = RGBColor(110, 110, 110);
const FAINT: RGBColor = RGBColor(228, 228, 228);
const PHASE: RGBColor = RGBColor(150, 150, 150);

/// A curve: its name, its colour and its value at an epoch.
struct Curve<'a> {
    name: &'a str,
    color: RGBColor,
    value: fn(&Row) -> Option<f64>,
}

/// One of the panels below each other.
struct Panel<'a> {
    title: &'a str,
    curves: Vec<Curve<'a>>,
    values: Range<f64>,
    /// About so many numbers on the axis.
    labels: usize,
    /// Whether the epochs are written below.
    epochs: bool,
}

/// Draws the log.
pub(super) fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let failed = |e: String| Error::content(path, format!("cannot draw the curves: {e}"));
    register_font("sans-serif", FontStyle::Normal, crate::image::FONT)
        .map_err(|_| failed("the built-in font is damaged".into()))?;
    let height = panels(rows).iter().map(|(height, _)| height).sum();
    let mut buffer = vec![255; (WIDTH * height * 3) as usize];
    draw(&mut buffer, height, rows).map_err(|e| failed(e.to_string()))?;
    let image =
        RgbImage::from_raw(WIDTH, height, buffer).ok_or_else(|| failed("the buffer has the wrong size".into()))?;
    write_png(path, &image)
}

/// The panels that there are values for, with their heights.
fn panels(rows: &[Row]) -> Vec<(u32, Panel<'static>)> {
    let present = |curve: &Curve<'_>| rows.iter().any(|row| (curve.value)(row).is_some());
    let curve = |name, color, value| Curve { name, color, value };
    let loss = vec![
        curve("training", BLUE, |row: &Row| Some(row.train_loss)),
        curve("validation", ORANGE, |row: &Row| row.validation_loss),
    ];
    let score = vec![curve("mean IoU", ORANGE, Row::mean_iou), curve("pixel accuracy", GREEN, Row::pixel_accuracy)];
    let rate = vec![curve("", GREY, |row: &Row| Some(row.learning_rate))];
    let panel = |title, curves: Vec<Curve<'static>>, values: Option<Range<f64>>, labels| {
        let found = rows.iter().flat_map(|row| curves.iter().filter_map(|curve| (curve.value)(row)));
        let (low, high) = axis::range(found);
        let curves = curves.into_iter().filter(present).collect();
        Panel { title, curves, values: values.unwrap_or(low..high), labels, epochs: title == "learning rate" }
    };
    let all = [
        (LOSS_HEIGHT, panel("loss", loss, None, 8)),
        (SCORE_HEIGHT, panel("validation score", score, Some(0.0..1.0), 10)),
        (RATE_HEIGHT, panel("learning rate", rate, None, 5)),
    ];
    all.into_iter().filter(|(_, panel)| !panel.curves.is_empty()).collect()
}

fn draw(buffer: &mut [u8], height: u32, rows: &[Row]) -> Result<(), Failure> {
    let mut rest = BitMapBackend::with_buffer(buffer, (WIDTH, height)).into_drawing_area();
    rest.fill(&WHITE)?;
    for (height, panel) in panels(rows) {
        let (area, below) = rest.split_vertically(height as i32);
        draw_panel(&area, &panel, rows)?;
        rest = below;
    }
    rest.present()?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>, rows: &[Row]) -> Result<(), Failure> {
    let last = rows.last().map_or(1, |row| row.epoch);
    // Half an epoch of room at either end keeps points off the frame.
    let epochs = 0.5..last as f64 + 0.5;
    let mut chart = ChartBuilder::on(area)
        .margin_top(14)
        .margin_right(24)
        .margin_left(12)
        .x_label_area_size(if panel.epochs { EPOCH_AXIS } else { 6 })
        .y_label_area_size(76)
        .build_cartesian_2d(epochs, panel.values.clone())?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(FAINT)
        .axis_style(PHASE)
        .y_desc(panel.title)
        .y_labels(panel.labels)
        .x_labels(0)
        .y_label_formatter(&|y| axis::short(*y))
        .label_style(("sans-serif", 16))
        .axis_desc_style(("sans-serif", 18));
    mesh.draw()?;
    if panel.epochs {
        draw_epochs(area, &chart, last)?;
    }
    draw_phases(&mut chart, rows, &panel.values)?;
    for curve in &panel.curves {
        draw_curve(&mut chart, curve, rows)?;
    }
    if panel.curves.iter().any(|curve| !curve.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(if panel.title == "loss" {
                SeriesLabelPosition::UpperRight
            } else {
                SeriesLabelPosition::LowerRight
            })
            .background_style(WHITE.mix(0.85))
            .border_style(FAINT)
            .label_font(("sans-serif", 16))
            .draw()?;
    }
    Ok(())
}

/// Whole numbers below the axis; plotters would write fractions of epochs.
fn draw_epochs(area: &Area<'_>, chart: &Chart<'_, '_>, last: usize) -> Result<(), Failure> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let (across, down) = chart.plotting_area().get_pixel_range();
    let (left, top) = area.get_base_pixel();
    let centred = Pos::new(HPos::Center, VPos::Top);
    let style = ("sans-serif", 16).into_font().color(&BLACK).pos(centred);
    let place = |x: i32| (x - left, down.end - top);
    for epoch in axis::epoch_ticks(last, 12) {
        let part = (epoch as f64 - 0.5) / last as f64;
        let (x, y) = place(across.start + (part * f64::from(across.end - across.start)).round() as i32);
        area.draw(&PathElement::new([(x, y), (x, y + 5)], PHASE))?;
        area.draw(&Text::new(epoch.to_string(), (x, y + 8), style.clone()))?;
    }
    let (x, y) = place((across.start + across.end) / 2);
    area.draw(&Text::new("epoch", (x, y + 27), ("sans-serif", 18).into_font().color(&BLACK).pos(centred)))?;
    Ok(())
}

/// Thin lines where a phase ends and the next begins.
fn draw_phases(chart: &mut Chart<'_, '_>, rows: &[Row], values: &Range<f64>) -> Result<(), Failure> {
    for pair in rows.windows(2).filter(|pair| pair[0].phase != pair[1].phase) {
        let x = pair[1].epoch as f64 - 0.5;
        chart.draw_series([PathElement::new([(x, values.start), (x, values.end)], PHASE)])?;
    }
    Ok(())
}

fn draw_curve(chart: &mut Chart<'_, '_>, curve: &Curve<'_>, rows: &[Row]) -> Result<(), Failure> {
    let color = curve.color;
    let points: Vec<(f64, f64)> = rows.iter().filter_map(|row| Some((row.epoch as f64, (curve.value)(row)?))).collect();
    let series = chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?;
    if !curve.name.is_empty() {
        series.label(curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(3)));
    }
    // A line needs two points to be seen.
    if points.len() == 1 {
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, color.filled())))?;
    }
    Ok(())
}
