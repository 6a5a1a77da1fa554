//! What the report of a forest shows beside its scores: labels and classification of the images that it learnt from.

use std::collections::BTreeMap;
use std::path::Path;

use super::labels::{LabelledImage, Loaded};
use crate::base::Result;
use crate::base::event::{Sink, Stretch, Task};
use crate::base::words::counted;
use crate::data::{Dataset, Labels, ends_as_label_image};
use crate::nn::device::DeviceChoice;
use crate::predict::Options;
use crate::predict::forest::ForestPredictor;
use crate::predict::model::Model;
use crate::report::{ForestReport, Gallery, SamplePrediction};
use crate::run::{ForestRun, read_json};

/// Images of more pixels than this in all are left to `segtool report`: a training should not take a multiple of its time.
pub(super) const QUICK: usize = 4 << 20;

/// Classifies the labelled images, some of them where they are many, as long as they have at most `most` pixels in all.
pub(super) fn classified(
    predictor: &ForestPredictor,
    images: &[LabelledImage],
    (dataset, cache_features): (&Dataset, Option<&Path>),
    most: usize,
    sink: &dyn Sink,
) -> Result<Vec<SamplePrediction>> {
    let mut gallery = Gallery::new(images.len(), dataset.class_count());
    let options = Options { cache_features: cache_features.map(Path::to_path_buf), ..Options::default() };
    let work = predictor.work(&options, None)?;
    let (mut pixels, mut left_out) = (0, 0);
    let stretch = Stretch::begin(sink, Task::Predict, images.len());
    for (i, labelled) in images.iter().enumerate() {
        if !gallery.wants(i) {
            continue;
        }
        let Loaded { image, labels, .. } = labelled.load(dataset)?;
        let area = image.size.width * image.size.height;
        if pixels + area > most {
            left_out += 1;
            continue;
        }
        pixels += area;
        gallery.add(i, &labels, &work.one(&labelled.image, image)?.labels);
        stretch.advance_to(i + 1);
    }
    drop(stretch);
    if left_out > 0 {
        let images = counted(left_out, "large image");
        sink.note(format!("the report leaves out {images}; `segtool report RUN` shows all"));
    }
    let pairs: Vec<_> = images.iter().map(LabelledImage::pair).collect();
    gallery.samples(&pairs, dataset)
}

/// Writes the report of a run to `path`, with all of its images.
pub(in crate::train) fn write(run: &ForestRun, path: &Path, device: DeviceChoice, sink: &dyn Sink) -> Result<()> {
    let (scores, dataset) = (run.scores_path(), &run.config.dataset);
    let report = read_json::<ForestReport>(&scores)?.restored(&scores, dataset.class_count())?;
    let predictor = ForestPredictor::open(run, device)?;
    let samples = classified(&predictor, &images(run)?, (dataset, None), usize::MAX, sink)?;
    report.write_html(run, path, &samples)
}

/// The images that a run learnt from: with label images, or with the rows of tables.
fn images(run: &ForestRun) -> Result<Vec<LabelledImage>> {
    let (mut plain, mut tables) = (Vec::new(), BTreeMap::new());
    for pair in run.samples()?.train {
        match &pair.label {
            Labels::File(file) if !ends_as_label_image(file) => _ = tables.entry(file.clone()).or_insert(pair.image),
            _ => plain.push(pair),
        }
    }
    let mut images = LabelledImage::from_pairs(plain)?;
    for (table, image) in tables {
        let read = |folder: Option<&Path>| LabelledImage::from_table(&table, &run.config.dataset, folder);
        // The folder of the images is not on record: one above the image, where they are not beside the table.
        let above = image.ancestors().skip(1).find_map(|folder| read(Some(folder)).ok());
        images.extend(above.map_or_else(|| read(None), Ok)?);
    }
    Ok(images)
}
