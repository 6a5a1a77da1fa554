//! The validation images that went best and worst, to look at.

use std::path::Path;
use std::sync::Arc;

use crate::base::files::{create_folder, remove_folder, write_bytes_unsynced};
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result};
use crate::data::{Pair, check_size, displayed};
use crate::draw::{Classes, FigureFormat, Shown, Style, compose, encode_figure};
use crate::image::read_image;
use crate::metric::Areas;

/// Widest image, in pixels.
const MOST_WIDTH: u32 = 1920;

/// An image with what makes its place.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedImage {
    /// Its place among the pairs.
    pub index: usize,
    /// Mean IoU over the classes that its label holds.
    pub mean_iou: f64,
    /// Its label.
    pub labels: LabelMap,
    /// Its prediction.
    pub prediction: LabelMap,
}

/// Finds the best and the worst of the images that it is shown, and holds no others. The order in which they come
/// does not matter.
#[derive(Debug, Clone)]
pub struct ImageRanking {
    classes: usize,
    count: usize,
    best: Vec<Arc<RankedImage>>,
    worst: Vec<Arc<RankedImage>>,
}

impl ImageRanking {
    /// For `count` images at either end.
    pub fn new(classes: usize, count: usize) -> Self {
        Self { classes, count, best: Vec::new(), worst: Vec::new() }
    }

    /// Takes an image in; one without a label has no place. `index` is its place among the pairs.
    pub fn add(&mut self, index: usize, labels: &LabelMap, prediction: &LabelMap) {
        if self.count == 0 {
            return;
        }
        let Some(mean_iou) = image_iou(labels, prediction, self.classes) else { return };
        let place = |kept: &[Arc<RankedImage>], better: fn(f64, f64) -> bool| {
            let behind = |other: &Arc<RankedImage>| {
                better(mean_iou, other.mean_iou) || (mean_iou == other.mean_iou && index < other.index)
            };
            Some(kept.iter().position(behind).unwrap_or(kept.len())).filter(|&place| place < self.count)
        };
        let (best, worst) = (place(&self.best, |a, b| a > b), place(&self.worst, |a, b| a < b));
        if best.or(worst).is_none() {
            return;
        }
        let image = Arc::new(RankedImage { index, mean_iou, labels: labels.clone(), prediction: prediction.clone() });
        for (kept, place) in [(&mut self.best, best), (&mut self.worst, worst)] {
            if let Some(place) = place {
                kept.insert(place, Arc::clone(&image));
                kept.truncate(self.count);
            }
        }
    }

    /// The best images, the best first, and the worst, the worst first. Of few images, some are both.
    pub fn extremes(&self) -> (&[Arc<RankedImage>], &[Arc<RankedImage>]) {
        (&self.best, &self.worst)
    }
}

/// Mean IoU of an image over the classes that its label holds; `None` if it holds none.
pub(crate) fn image_iou(labels: &LabelMap, prediction: &LabelMap, classes: usize) -> Option<f64> {
    let mut areas = vec![Areas::default(); classes];
    let pixels = labels.classes.iter().zip(&prediction.classes).filter(|(label, _)| **label != IGNORE);
    for (&label, &predicted) in pixels {
        if let Some(area) = areas.get_mut(usize::from(label)) {
            area.label += 1;
            area.both += u64::from(label == predicted);
        }
        if let Some(area) = areas.get_mut(usize::from(predicted)) {
            area.prediction += 1;
        }
    }
    let found: Vec<f64> = areas.iter().filter(|area| area.label > 0).filter_map(Areas::iou).collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

/// Draws the best and the worst side by side with their labels as `best_1_<stem>.png`, `worst_1_<stem>.png` and so on;
/// the folder is made anew.
pub fn write_images(folder: &Path, ranking: &ImageRanking, pairs: &[Pair], classes: &Classes) -> Result<()> {
    remove_folder(folder)?;
    create_folder(folder)?;
    let (best, worst) = ranking.extremes();
    for (end, images) in [("best", best), ("worst", worst)] {
        let digits = images.len().to_string().len();
        for (i, image) in images.iter().enumerate() {
            let pair = pairs.get(image.index).ok_or_else(|| {
                Error::content(folder, format!("image {} is none of the {} pairs", image.index, pairs.len()))
            })?;
            let stem = pair.image.file_stem().unwrap_or_default().to_string_lossy();
            let path = folder.join(format!("{end}_{:0digits$}_{stem}.png", i + 1));
            write_bytes_unsynced(&path, &draw(image, pair, classes)?)?;
        }
    }
    Ok(())
}

fn draw(image: &RankedImage, pair: &Pair, classes: &Classes) -> Result<Vec<u8>> {
    let raster = read_image(&pair.image)?;
    check_size((&pair.image, raster.size), (pair.label.name(), image.labels.size))?;
    let shown = Shown {
        image: displayed(raster, classes.bands, &classes.nodata),
        label: Some(image.labels.classes.clone()),
        prediction: Some(image.prediction.classes.clone()),
        probability: None,
        mean_iou: Some(image.mean_iou),
    };
    let style = Style { errors: true, titles: true, legend: true, max_width: Some(MOST_WIDTH), ..Style::default() };
    let drawn = compose(shown, classes, &style).map_err(|reason| Error::content(&pair.image, reason))?;
    encode_figure(&drawn, FigureFormat::Png)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::Size;
    use crate::data::synthetic::write_set;

    fn map(classes: &[u16]) -> LabelMap {
        LabelMap { size: Size { width: classes.len(), height: 1 }, classes: classes.to_vec() }
    }

    #[test]
    fn the_score_is_over_the_classes_of_the_label() {
        let iou = |labels: &[u16], predicted: &[u16]| image_iou(&map(labels), &map(predicted), 3);
        assert_eq!(iou(&[0, 0, 1, 1], &[0, 0, 1, 1]), Some(1.0));
        // Class 2 does not occur: it only takes from class 1, 1 of 2.
        assert_eq!(iou(&[0, 0, 1, 1], &[0, 0, 1, 2]), Some(0.75));
        // What has no label does not count.
        assert_eq!(iou(&[0, IGNORE, IGNORE], &[0, 0, 1]), Some(1.0));
        assert_eq!(iou(&[IGNORE, IGNORE], &[0, 1]), None);
    }

    #[test]
    fn the_ends_are_found_in_any_order() {
        // Scores of images 0 to 9 are 0.9, 0.8, ..., 0; 4 and 5 are equal.
        let right = [9, 8, 7, 6, 5, 5, 3, 2, 1, 0];
        let labels = map(&[0; 10]);
        let prediction = |index: usize| {
            let classes: Vec<u16> = (0..10).map(|i| u16::from(i >= right[index])).collect();
            map(&classes)
        };
        for order in [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 3, 5, 4, 0, 8, 1, 2, 6, 7]] {
            let mut ranking = ImageRanking::new(2, 5);
            order.into_iter().for_each(|index| ranking.add(index, &labels, &prediction(index)));
            let places = |kept: &[Arc<RankedImage>]| kept.iter().map(|p| p.index).collect::<Vec<_>>();
            let (best, worst) = ranking.extremes();
            assert_eq!((places(best), places(worst)), (vec![0, 1, 2, 3, 4], vec![9, 8, 7, 6, 4]));
            assert_eq!(best[0].prediction, prediction(0));
        }
        let mut none = ImageRanking::new(2, 0);
        none.add(0, &labels, &prediction(0));
        assert_eq!(none.extremes().0.len(), 0);
    }

    #[test]
    fn images_are_written_by_rank_and_stem() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = write_set(folder.path(), "val", 1, 0..3, Size { width: 32, height: 24 }).unwrap();
        let dataset = crate::data::Dataset::find("demo").unwrap();
        let mut ranking = ImageRanking::new(4, 1);
        for (index, pair) in pairs.iter().enumerate() {
            let labels = crate::data::load_labels(pair.label.name(), &dataset).unwrap();
            let mut prediction = labels.clone();
            prediction.classes[..100 * index].fill(3);
            ranking.add(index, &labels, &prediction);
        }
        let target = folder.path().join("validation/epoch_0003");
        create_folder(&target).unwrap();
        fs::write(target.join("worst_1_old.png"), "old").unwrap();
        write_images(&target, &ranking, &pairs, &Classes::of(&dataset)).unwrap();
        let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let name =
            |end: &str, index: usize| format!("{end}_1_{}.png", pairs[index].image.file_stem().unwrap().display());
        assert_eq!(names, [name("best", 0), name("worst", 2)].map(std::ffi::OsString::from));
        assert!(read_image(&target.join(name("worst", 2))).unwrap().size.width > 4 * 32);
    }
}
