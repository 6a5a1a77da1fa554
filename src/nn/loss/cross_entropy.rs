//! Softmax cross-entropy, plain, with smoothed labels, and of hard pixels only.

use burn::tensor::Tensor;

use super::pixels::{Part, Pixels, as_image, total};
use super::target::UNLABELLED;
use crate::nn::ops;

/// Mean over the labelled pixels of `-log softmax(logits)[class]`, with class weights divided by the sum of the pixels'
/// weights; 0 if no pixel has a label. PyTorch's `cross_entropy` with `ignore_index`, except that PyTorch gives NaN for
/// a batch without labels.
pub(super) fn plain(logits: Tensor<4>, pixels: &Pixels) -> Tensor<1> {
    let loss = ops::cross_entropy(logits, pixels.labels(None), pixels.class_weights(), i64::from(UNLABELLED));
    pixels.summand_of_mean(loss, || pixels.weights())
}

/// [`plain`] over the hard pixels: those whose class has a probability below `threshold`, but at least the `min_kept`
/// least probable for every image of the batch (all if there are fewer). arXiv 1604.03540 for pixels, in the form of
/// hszhao/semseg and mmsegmentation.
pub(super) fn of_hard_pixels(logits: Tensor<4>, pixels: &Pixels, threshold: f64, min_kept: usize) -> Tensor<1> {
    let [batch, _, height, width] = pixels.logits.dims();
    let (least, all) = (min_kept.saturating_mul(batch), batch * height * width);
    if least >= all {
        return plain(logits, pixels);
    }
    let probability = pixels.log_probability().exp();
    // Above any probability: without a label, last in the order.
    let order = pixels.fill_unlabelled(probability.clone(), 2.0).reshape([all]).sort(0);
    let bar = as_image(order.narrow(0, least - 1, 1));
    let hard = probability.clone().lower_elem(threshold).bool_or(probability.lower_equal(bar));
    let labels = pixels.labels(Some(hard.clone()));
    let loss = ops::cross_entropy(logits, labels, pixels.class_weights(), i64::from(UNLABELLED));
    pixels.summand_of_mean(loss, || pixels.weights().mask_fill(hard.bool_not(), 0.0))
}

/// What smoothed labels add: the mean over classes of `-weight[class] log softmax(logits)[class]`, summed over the
/// labelled pixels and divided by the sum of their weights. PyTorch's `label_smoothing` (arXiv 1512.00567) is `1 - e`
/// times [`plain`] plus `e` times this.
pub(super) fn of_all_classes(pixels: &Pixels) -> Part {
    let classes = pixels.logits.dims()[1];
    let weights = pixels.class_weights().unwrap_or_else(|| Tensor::ones([classes], &pixels.device()));
    let weights: Tensor<4> = weights.reshape([1, classes as i64, 1, 1]) / classes as f64;
    let all = weights.clone().sum_dim(1);
    let sum = pixels.over_group(total(pixels.weights()));
    let per = as_image(sum.clone().recip().mask_fill(sum.equal_elem(0.0), 0.0));
    // log softmax(x) = x - log sum exp x.
    let each = pixels.log_partition() * all.clone() - (pixels.logits.clone() * weights.clone()).sum_dim(1);
    let value = total(pixels.fill_unlabelled(each, 0.0) * per.clone());
    let by_logit = pixels.wants_gradient.then(|| {
        let slope = pixels.probability() * (all * per.clone()) - weights * per;
        pixels.fill_unlabelled(slope, 0.0)
    });
    Part { value, by_probability: None, by_logit }
}
