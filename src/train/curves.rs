//! `curves.png`: training loss and validation mean IoU over the epochs.

use std::path::Path;

use image::RgbImage;
use plotters::prelude::*;
use plotters::style::register_font;

use super::Row;
use crate::error::{Error, Result};
use crate::image::write_png;

const SIZE: (u32, u32) = (960, 540);
const LOSS: RGBColor = RGBColor(31, 119, 180);
const IOU: RGBColor = RGBColor(214, 90, 30);

/// Draws the log.
pub(super) fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let failed = |e: String| Error::content(path, format!("cannot draw the curves: {e}"));
    register_font("sans-serif", FontStyle::Normal, crate::image::FONT)
        .map_err(|_| failed("the built-in font is damaged".into()))?;
    let mut buffer = vec![255; (SIZE.0 * SIZE.1 * 3) as usize];
    draw(&mut buffer, rows).map_err(|e| failed(e.to_string()))?;
    let picture =
        RgbImage::from_raw(SIZE.0, SIZE.1, buffer).ok_or_else(|| failed("the buffer has the wrong size".into()))?;
    write_png(path, &picture)
}

fn draw(buffer: &mut [u8], rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let area = BitMapBackend::with_buffer(buffer, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let epochs = 1.0..rows.last().map_or(2.0, |row| (row.epoch as f64).max(2.0));
    let losses = || rows.iter().map(|row| (row.epoch as f64, row.train_loss));
    let top = losses().map(|(_, loss)| loss).fold(0.0f64, f64::max).max(1e-6) * 1.05;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .right_y_label_area_size(64)
        .build_cartesian_2d(epochs.clone(), 0.0..top)?
        .set_secondary_coord(epochs, 0.0..1.0f64);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("epoch")
        .y_desc("training loss")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .label_style(("sans-serif", 16))
        .axis_desc_style(("sans-serif", 18))
        .draw()?;
    chart
        .configure_secondary_axes()
        .y_desc("validation mean IoU")
        .label_style(("sans-serif", 16))
        .axis_desc_style(("sans-serif", 18))
        .draw()?;
    let line =
        |color: RGBColor| move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(3));
    chart.draw_series(LineSeries::new(losses(), LOSS.stroke_width(3)))?.label("training loss").legend(line(LOSS));
    let ious: Vec<_> = rows.iter().filter_map(|row| Some((row.epoch as f64, row.mean_iou()?))).collect();
    if !ious.is_empty() {
        chart
            .draw_secondary_series(LineSeries::new(ious, IOU.stroke_width(3)))?
            .label("validation mean IoU")
            .legend(line(IOU));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 16))
        .draw()?;
    area.present()?;
    Ok(())
}
