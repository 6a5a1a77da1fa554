//! The Lovasz extension of the Jaccard loss (arXiv 1705.08790).

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use super::pixels::{Part, Pixels};
use crate::nn::ops::{read_numbers, upload};

/// Error of a pixel without a label: below every other, so that it comes last and has no part in any.
const NONE: f64 = -1e30;

/// Lovasz-softmax: for each class that occurs, over the labelled pixels of the batch or of each image, the extension
/// of the Jaccard loss at the errors `|t - p|`; the mean over those classes, then over images. Which classes occur is
/// read from the device, since sorting the errors is most of the work.
pub(super) fn softmax(pixels: &Pixels, per_image: bool) -> Part {
    let rows = Rows::new(pixels, per_image);
    let (index, weights) = rows.that_occur(&pixels.truth());
    if weights.is_empty() {
        return Part { value: Tensor::zeros([1], &pixels.device()), by_probability: None, by_logit: None };
    }
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [weights.len()]), &pixels.device());
    let truth = rows.lay(pixels.truth()).select(0, index.clone());
    let errors = pixels.fill_unlabelled((pixels.truth() - pixels.probability()).abs(), NONE);
    let errors = rows.lay(errors).select(0, index.clone());
    let (value, slopes) = rows.extension(errors, truth.clone(), &weights);
    let by_probability = pixels.wants_gradient.then(|| {
        let nothing = Tensor::zeros([rows.count(), rows.length()], &pixels.device());
        let slopes = slopes * (truth * -2.0 + 1.0);
        rows.back(nothing.select_assign(0, index, slopes, IndexingUpdateOp::Add))
    });
    Part { value, by_probability, by_logit: None }
}

/// Lovasz hinge: for each output, over the labelled pixels of the batch or of each image, the extension at the errors
/// `1 - x` where the class is there and `1 + x` where it is not; the mean over outputs and images.
pub(super) fn hinge(pixels: &Pixels, per_image: bool) -> Part {
    let rows = Rows::new(pixels, per_image);
    if rows.count() * rows.length() == 0 {
        return Part { value: Tensor::zeros([1], &pixels.device()), by_probability: None, by_logit: None };
    }
    let sign = pixels.truth() * 2.0 - 1.0;
    let errors = pixels.fill_unlabelled((pixels.logits.clone() * sign.clone()).neg() + 1.0, NONE);
    let weights = vec![1.0 / rows.count() as f32; rows.count()];
    let (value, slopes) = rows.extension(rows.lay(errors.clone()), rows.lay(pixels.truth()), &weights);
    let by_logit = pixels.wants_gradient.then(|| {
        let slopes = rows.back(slopes) * sign.neg();
        slopes.mask_fill(errors.lower_equal_elem(0.0), 0.0)
    });
    Part { value, by_probability: None, by_logit }
}

/// How pixels `[batch, channels, height, width]` are laid in rows that are sorted each on its own: a row a channel, or
/// a row an image and channel.
struct Rows {
    shape: [usize; 4],
    per_image: bool,
}

impl Rows {
    fn new(pixels: &Pixels, per_image: bool) -> Self {
        Self { shape: pixels.logits.dims(), per_image }
    }

    fn count(&self) -> usize {
        let [batch, channels, ..] = self.shape;
        if self.per_image { batch * channels } else { channels }
    }

    /// Pixels of a row.
    fn length(&self) -> usize {
        let [batch, _, height, width] = self.shape;
        if self.per_image { height * width } else { batch * height * width }
    }

    fn lay(&self, x: Tensor<4>) -> Tensor<2> {
        let x = if self.per_image { x } else { x.swap_dims(0, 1) };
        x.reshape([self.count(), self.length()])
    }

    fn back(&self, x: Tensor<2>) -> Tensor<4> {
        let [batch, channels, height, width] = self.shape;
        if self.per_image { x.reshape(self.shape) } else { x.reshape([channels, batch, height, width]).swap_dims(0, 1) }
    }

    /// The rows whose class occurs, and the weights that make the sum over them a mean over classes, then images.
    fn that_occur(&self, truth: &Tensor<4>) -> (Vec<i32>, Vec<f32>) {
        let [batch, channels, ..] = self.shape;
        let mut counts: Vec<f32> = read_numbers(truth.clone().sum_dim(3).sum_dim(2));
        if !self.per_image {
            counts = (0..channels).map(|class| counts.iter().skip(class).step_by(channels).sum()).collect();
        }
        let means = if self.per_image { batch } else { 1 };
        let rows = |(mean, counts): (usize, &[f32])| {
            let classes: Vec<usize> = (0..channels).filter(|&class| counts[class] > 0.0).collect();
            let weight = 1.0 / (means * classes.len()) as f32;
            classes.into_iter().map(|class| ((mean * channels + class) as i32, weight)).collect::<Vec<_>>()
        };
        counts.chunks(channels.max(1)).enumerate().flat_map(rows).unzip()
    }

    /// The weighted sum over rows of `sum of max(error, 0) * slope`, and those slopes, weighted, in the pixels' order.
    /// The slope of a pixel is by how much the Jaccard loss grows when, in the order of falling errors, it joins the
    /// wrong ones.
    fn extension(&self, errors: Tensor<2>, truth: Tensor<2>, weights: &[f32]) -> (Tensor<1>, Tensor<2>) {
        let (device, [rows, length]) = (errors.device(), errors.dims());
        let (errors, order) = errors.sort_descending_with_indices(1);
        let all = truth.clone().sum_dim(1);
        let truth = truth.gather(1, order.clone());
        let found = truth.clone().cumsum(1);
        let place = Tensor::<1, Int>::arange(1..length as i64 + 1, &device).float().reshape([1, length as i64]);
        let union = place - found.clone() + all.clone();
        let intersection = all - found;
        // Differences of `1 - intersection / union`, written out: computed as differences they would be lost in
        // rounding.
        let of_false = intersection / (union.clone() * (union.clone() - 1.0)).clamp_min(1.0);
        let slopes = of_false.mask_where(truth.greater_elem(0.5), union.clone().recip());
        // Of a class that does not occur the first pixel counts all.
        let slopes = slopes.mask_fill(union.equal_elem(1.0), 1.0);
        let weights = upload::<1>(weights.into(), &device).reshape([rows as i64, 1]);
        let slopes = slopes * weights;
        let width = self.shape[3];
        let terms = (errors.clamp_min(0.0) * slopes.clone()).reshape([rows, length / width, width]);
        let value = terms.sum_dim(2).sum_dim(1).sum_dim(0).reshape([1]);
        (value, Tensor::zeros([rows, length], &device).scatter(1, order, slopes, IndexingUpdateOp::Add))
    }
}
