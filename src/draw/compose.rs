//! From what was read to the finished image.

use image::RgbImage;

use super::class_legend::{class_table, judgement_table};
use super::color_bar::with_color_bar;
use super::figure::{self, Figure, Frame, Panel};
use super::panels::{color_labels, color_probabilities, judge, overlay_labels};
use super::shown::{Classes, Paint, Shown, Style};
use super::size::{panel_size, resized};

/// Narrowest image with a legend, in pixels.
const LEAST_LEGEND: u32 = 240;

/// Draws the panels that there are: image, label, prediction, errors, probability. Says why not where the result would
/// be too large, or cannot be as narrow as asked for.
pub fn compose(shown: Shown, classes: &Classes, style: &Style) -> Result<RgbImage, String> {
    if let Some(most) = style.max_width.filter(|most| style.legend && *most < LEAST_LEGEND) {
        return Err(format!(
            "a legend does not fit into a width of {most} pixels; use a `max_width` of at least {LEAST_LEGEND}"
        ));
    }
    let legends = if style.legend {
        let mut tables = vec![class_table(&shown, classes)];
        tables.extend(
            shown.judged().filter(|_| style.errors).map(|(label, predicted)| judgement_table(label, predicted)),
        );
        tables
    } else {
        Vec::new()
    };
    let frame = match (style.titles, style.legend) {
        (true, _) => Frame::Titles,
        (false, true) => Frame::Gaps,
        (false, false) => Frame::None,
    };
    let size = panel_size(&shown, style, frame)?;
    let shown = if size == shown.image.dimensions() { shown } else { resized(&shown, size) };
    let panels = panels(shown, classes, style);
    Ok(figure::figure(&Figure { panels, layout: style.layout, frame, legends, max_width: style.max_width }))
}

fn panels(shown: Shown, classes: &Classes, style: &Style) -> Vec<Panel> {
    let width = shown.image.width() as usize;
    let painted = |labels: &[u16]| match style.paint {
        Paint::Flat => color_labels(labels, width, &classes.colors),
        Paint::Overlay(opacity) => overlay_labels(&shown.image, labels, &classes.colors, opacity),
    };
    let label = shown.label.as_ref().map(|label| ("label".to_owned(), painted(label)));
    let score = shown.mean_iou.map_or_else(String::new, |iou| format!(", mean IoU {iou:.3}"));
    let prediction = shown.prediction.as_ref().map(|found| (format!("prediction{score}"), painted(found)));
    let errors = shown.judged().filter(|_| style.errors);
    let errors = errors.map(|(label, predicted)| ("errors".to_owned(), judge(label, predicted, width)));
    let probability = shown.probability.as_ref().map(|values| with_color_bar(&color_probabilities(values, width)));
    let probability = probability.map(|image| ("probability".to_owned(), image));
    let image = Some(("image".to_owned(), shown.image));
    let panel = |(title, image): (String, RgbImage)| Panel { title, image };
    [image, label, prediction, errors, probability].into_iter().flatten().map(panel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: u32, height: u32) -> Shown {
        let pixels = (width * height) as usize;
        let (label, probability) = (Some(vec![0; pixels]), Some(vec![0.5; pixels]));
        let prediction = label.clone();
        Shown { image: RgbImage::new(width, height), label, prediction, probability, mean_iou: None }
    }

    #[test]
    fn any_width_that_can_be_kept_is_kept() {
        for most in [240, 333, 1000] {
            let style = Style { errors: true, legend: true, titles: true, max_width: Some(most), ..Style::default() };
            let image = compose(shown(300, 200), &Classes::default(), &style).unwrap();
            assert!((most - 30..=most).contains(&image.width()), "{} for {most}", image.width());
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        let style = Style { max_width: Some(20), ..Style::default() };
        assert!(compose(shown(300, 200), &Classes::default(), &style).unwrap_err().contains("`max_width`"));
        let style = Style { scale: 1e4, ..Style::default() };
        assert!(compose(shown(300, 200), &Classes::default(), &style).unwrap_err().contains("`scale`"));
    }
}
