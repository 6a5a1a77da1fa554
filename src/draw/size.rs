//! How large panels are, and what they show at that size.

use image::imageops::{FilterType, resize};

use super::color_bar::color_bar_width;
use super::figure::{Frame, panels_width};
use super::shown::{Shown, Style};
use crate::base::Size;
use crate::image::nearest;

/// Most pixels of a finished image.
const MOST_PIXELS: f64 = (1u64 << 29) as f64;

/// Width and height of the panels: scaled, then reduced until all of them fit into the width asked for.
pub(super) fn panel_size(shown: &Shown, style: &Style, frame: Frame) -> Result<(u32, u32), String> {
    let (width, height) = shown.image.dimensions();
    let errors = style.errors && shown.judged().is_some();
    let count =
        [true, shown.label.is_some(), shown.prediction.is_some(), errors].iter().filter(|there| **there).count();
    let height_at = |w: u32| ((f64::from(height) * f64::from(w) / f64::from(width)).round() as u32).max(1);
    let total = |w: u32| {
        let mut widths = vec![w; count];
        widths.extend(shown.probability.as_ref().map(|_| w.saturating_add(color_bar_width(height_at(w)))));
        panels_width(&widths, frame, style.layout)
    };
    let scaled = (f64::from(width) * style.scale).round().max(1.0);
    let scaled_height = (f64::from(height) * style.scale).round().max(1.0);
    if scaled * scaled_height * (count + 1) as f64 > MOST_PIXELS {
        return Err(format!(
            "its panels would be {scaled:.0}x{scaled_height:.0} pixels, which is too large for one image; use a \
             smaller `scale`"
        ));
    }
    let scaled = scaled as u32;
    let most = style.max_width.unwrap_or(u32::MAX);
    if total(scaled) <= most {
        return Ok((scaled, scaled_height as u32));
    }
    // The colour bar keeps its least size, so the width is not in proportion to that of the panels.
    let mut fitting = scaled;
    while total(fitting) > most && fitting > 1 {
        let proportional = u64::from(fitting) * u64::from(most) / u64::from(total(fitting));
        fitting = (proportional as u32).clamp(1, fitting - 1);
    }
    if total(fitting) > most {
        return Err(format!("its panels do not fit into a width of {most} pixels; use a larger `max_width`"));
    }
    Ok((fitting, height_at(fitting)))
}

/// The same at another size: the image filtered, the rest by the nearest pixel.
pub(super) fn resized(shown: &Shown, (width, height): (u32, u32)) -> Shown {
    let (from, to) = (Size::from(shown.image.dimensions()), Size::from((width, height)));
    Shown {
        image: resize(&shown.image, width, height, FilterType::CatmullRom),
        label: shown.label.as_ref().map(|label| nearest(label, from, to)),
        prediction: shown.prediction.as_ref().map(|prediction| nearest(prediction, from, to)),
        probability: shown.probability.as_ref().map(|values| nearest(values, from, to)),
        mean_iou: shown.mean_iou,
    }
}
