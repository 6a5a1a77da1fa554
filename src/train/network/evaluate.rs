//! A network scored on labelled images, and the way between batches and tensors that training shares.

use std::collections::VecDeque;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::oom;
use crate::base::Result;
use crate::base::event::{Sink, Stretch, Task};
use crate::base::label_map::{IGNORE, LabelMap};
use crate::data::{Batch, Loader};
use crate::metric::ConfusionMatrix;
use crate::nn::activation::Rule;
use crate::nn::device::{begin_pass, has_every_integer, is_gpu};
use crate::nn::group::Group;
use crate::nn::loss::{Loss, Target};
use crate::nn::model::Network;
use crate::nn::ops::{Arriving, sum, upload, upload_integers};
use crate::nn::precision::Precision;
use crate::predict::merge::decided;

/// The input of a batch on the device, `[count, bands, height, width]`; it is taken out of the batch.
pub fn input_tensor(batch: &mut Batch, precision: Precision, device: &Device) -> Tensor<4> {
    let shape = [batch.count, batch.bands, batch.size.height, batch.size.width];
    precision.of_input(upload(TensorData::new(std::mem::take(&mut batch.planes), shape), device))
}

/// The labels of a batch on the device.
pub fn target(batch: &Batch, device: &Device) -> Target {
    let shape = [batch.count, batch.size.height, batch.size.width];
    // In two bytes each on the way to a GPU; [`IGNORE`] becomes -1. Confusion matrices end far below 32,768 classes.
    let labels: Vec<i16> = batch.classes.iter().map(|&class| class as i16).collect();
    let dtype = DType::from(device.settings().int_dtype);
    let sent = if has_every_integer(device) { DType::I16 } else { dtype };
    let labels = upload_integers::<3>(TensorData::new(labels, shape), device, sent);
    Target { labels: labels.cast(dtype), complete: !batch.classes.contains(&IGNORE) }
}

/// Receives each image's place in the loader's pairs, its label and its prediction.
pub type OnImage<'a> = dyn FnMut(usize, &LabelMap, &LabelMap) + 'a;

/// How labelled images are predicted and scored.
#[derive(Debug)]
pub struct Examination<'a> {
    /// The images.
    pub loader: &'a Loader,
    /// How scores become classes.
    pub rule: Rule,
    /// In which numbers to compute.
    pub precision: Precision,
    /// Where.
    pub device: &'a Device,
    /// What is to be computed besides the classes.
    pub loss: Option<&'a Loss>,
    /// The processes that predict the other images.
    pub group: Option<&'a Group>,
}

/// Confusion matrix and mean loss from [`Examination::run`].
#[derive(Debug)]
pub struct Findings {
    /// Every labelled pixel, counted.
    pub matrix: ConfusionMatrix,
    /// Mean of the batches' losses, weighted by images; NaN if a score is not a number.
    pub loss: Option<f64>,
}

/// A batch whose results are not read yet.
struct Unread {
    batch: Batch,
    predictions: Arriving,
    loss: Option<Arriving>,
}

/// What was found so far.
struct Tally {
    matrix: ConfusionMatrix,
    losses: f64,
    done: usize,
}

impl Tally {
    fn add(&mut self, unread: Unread, on_image: &mut OnImage<'_>) -> Result<()> {
        let Unread { batch, predictions, loss } = unread;
        for loss in loss.map(Arriving::read::<f32>).transpose()?.into_iter().flatten() {
            self.losses += f64::from(loss) * batch.count as f64;
        }
        let predictions = predictions.read_classes()?;
        self.matrix.add(&batch.classes, &predictions);
        each_image(&batch, &predictions, on_image);
        self.done += batch.count;
        Ok(())
    }
}

impl Examination<'_> {
    /// Predicts the images at these places in the loader's pairs and counts against their labels; in a group, what is found
    /// is that of all images that its processes were given. `None` if `is_over` said so before the end, in any of them.
    pub fn run(
        &self,
        network: &Network,
        images: Vec<usize>,
        is_over: &dyn Fn() -> bool,
        sink: &dyn Sink,
        on_image: &mut OnImage<'_>,
    ) -> Result<Option<Findings>> {
        let found = oom::caught(|| self.own(network, images, is_over, sink, on_image));
        let Some(group) = self.group else { return Ok(found?.map(|tally| self.findings(tally))) };
        let found = group.together(found)?;
        // Those who stopped have nothing to add, and then nobody has.
        let stopped = group.any(found.is_none());
        group.check()?;
        let Some(tally) = found.filter(|_| !stopped) else { return Ok(None) };
        let sums = group.sum(&[tally.losses as f32, tally.done as f32]);
        let (losses, done) = (f64::from(sums[0]), sums[1] as usize);
        let matrix = tally.matrix.recounted(|counts| group.sum_counts(&counts));
        group.check()?;
        Ok(Some(self.findings(Tally { matrix, losses, done })))
    }

    fn findings(&self, tally: Tally) -> Findings {
        Findings { matrix: tally.matrix, loss: self.loss.map(|_| tally.losses / tally.done.max(1) as f64) }
    }

    fn own(
        &self,
        network: &Network,
        images: Vec<usize>,
        is_over: &dyn Fn() -> bool,
        sink: &dyn Sink,
        on_image: &mut OnImage<'_>,
    ) -> Result<Option<Tally>> {
        let total = images.len();
        let matrix = ConfusionMatrix::new(self.loader.dataset.class_count());
        let stretch = Stretch::begin(sink, Task::Validate, total);
        let mut tally = Tally { matrix, losses: 0.0, done: 0 };
        // A GPU that is asked for the next batch before the results of the last are read never waits; on a CPU, what is
        // computed is there at once.
        let ahead = usize::from(is_gpu(self.device));
        let mut unread = VecDeque::new();
        for batches in self.loader.of_pairs(images) {
            for batch in batches? {
                unread.push_back(self.begin(network, batch));
                if unread.len() > ahead
                    && let Some(first) = unread.pop_front()
                {
                    tally.add(first, on_image)?;
                }
            }
            stretch.advance_to(tally.done);
            if tally.done < total && is_over() {
                return Ok(None);
            }
        }
        if !unread.is_empty() {
            unread.into_iter().try_for_each(|rest| tally.add(rest, on_image))?;
            stretch.advance_to(tally.done);
        }
        Ok(Some(tally))
    }

    /// Asks the device for everything that is wanted of a batch.
    fn begin(&self, network: &Network, mut batch: Batch) -> Unread {
        let _pass = begin_pass(self.device, self.precision);
        let target = self.loss.map(|_| target(&batch, self.device));
        let logits = network.forward(input_tensor(&mut batch, self.precision, self.device));
        let loss = self.loss.zip(target.as_ref()).map(|(loss, target)| {
            // A loss may be finite although scores are not, and these would be taken for the first class.
            let spoilt = sum(logits.clone()).cast(DType::F32).mul_scalar(0.0);
            Arriving::new(loss.compute(logits.clone(), target) + spoilt)
        });
        Unread { batch, predictions: Arriving::of_classes(decided(logits, self.rule)), loss }
    }
}

fn each_image(batch: &Batch, predictions: &[u16], on_image: &mut OnImage<'_>) {
    let pixels = batch.size.width * batch.size.height;
    let map = |classes: &[u16]| LabelMap { size: batch.size, classes: classes.to_vec() };
    let images = batch.classes.chunks_exact(pixels).zip(predictions.chunks_exact(pixels));
    for (&index, (labels, prediction)) in batch.indices.iter().zip(images) {
        on_image(index, &map(labels), &map(prediction));
    }
}
