//! Losses on logits `[batch, outputs, height, width]` and class indices `[batch, height, width]`.
//!
//! Pixels without a label count for nothing in any of them, and a batch without any label
//! has a finite loss without a gradient.
//!
//! With a softmax there is an output for every class; with a sigmoid one for every class but class 0, the background,
//! and the truth of output `j` is "the class is `j + 1`".
//!
//! Cross-entropy is one step of the graph. Every other loss is computed off the graph together with its gradient for
//! the logits: several losses share their probabilities, and nothing but that gradient is kept for the backward pass.

mod class_weights;
mod cross_entropy;
mod focal;
mod lovasz;
mod pixels;
mod region;
mod target;
mod term;

use burn::tensor::{DType, Tensor};

use super::activation::Activation;
use super::group::Group;
use super::ops;
use crate::base::{Error, Result, require};

pub use class_weights::{ClassWeights, median_frequency};
pub use region::Over;
pub use target::Target;
pub use term::{FocalForm, LossKind, LossTerm, Overlap, parse_terms};

use pixels::{Part, Pixels};

/// A sum of losses, ready to be computed.
#[derive(Debug, Clone)]
pub struct Loss {
    terms: Vec<LossTerm>,
    activation: Activation,
    class_weights: Option<Vec<f32>>,
}

impl Loss {
    /// Checks the terms and that they go with the activation. `class_weights`, one a class, weigh the pixels of the
    /// terms that are means over pixels: cross-entropy and its OHEM form, BCE, focal loss.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] or [`Error::Conflict`] if there are no terms, if one does not go with the activation, or if a number is out of range.
    pub fn new(terms: &[LossTerm], activation: Activation, class_weights: Option<Vec<f32>>) -> Result<Self> {
        require(!terms.is_empty(), "training.loss", "empty", "at least one name, such as cross-entropy")?;
        for term in terms {
            term.check(activation)?;
        }
        if terms.iter().all(|term| term.weight == 0.0) {
            let reason = "has only terms of weight 0, so there is nothing to minimise; give one a weight above 0";
            return Err(Error::conflict("training.loss", reason));
        }
        if let Some(weights) = &class_weights {
            class_weights::check_numbers(weights)?;
        }
        Ok(Self { terms: terms.to_vec(), activation, class_weights })
    }

    /// Softmax cross-entropy alone.
    pub fn cross_entropy() -> Self {
        let term = LossTerm { kind: LossKind::CrossEntropy { label_smoothing: 0.0 }, weight: 1.0 };
        Self { terms: vec![term], activation: Activation::Softmax, class_weights: None }
    }

    /// The loss of a network's outputs: that of the first, plus those of further ones by their weights. In a group, a
    /// process's summand of the loss, as of [`Self::summand`].
    pub fn of_outputs(
        &self,
        logits: Tensor<4>,
        auxiliary: Vec<(Tensor<4>, f64)>,
        target: &Target,
        group: Option<&Group>,
    ) -> Tensor<1> {
        let main = self.summand(logits, target, group);
        let further =
            auxiliary.into_iter().map(|(logits, weight)| self.summand(logits, target, group).mul_scalar(weight));
        further.fold(main, |sum, loss| sum + loss)
    }

    /// The loss of a batch, a tensor of one element; computed in float32 whatever the logits are. The labels must be
    /// class indices below the number of classes, or -1.
    ///
    /// # Panics
    ///
    /// If there are class weights for another number of classes than the logits tell apart.
    pub fn compute(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        self.summand(logits, target, None)
    }

    /// This process's summand of the loss of a batch whose other samples the other processes have; so are their gradients
    /// summands of its gradient. Means and losses of overlap are over the whole batch, wherever its labels are. The Lovasz
    /// losses and the choice of hard pixels are of each process's samples, unless `per_image`, and so count by their number.
    ///
    /// # Panics
    ///
    /// As [`Self::compute`].
    pub fn summand(&self, logits: Tensor<4>, target: &Target, group: Option<&Group>) -> Tensor<1> {
        let classes = self.activation.classes(logits.dims()[1]);
        if let Some(weights) = &self.class_weights {
            assert_eq!(weights.len(), classes, "class weights for another number of classes");
        }
        let logits = if logits.dtype() == DType::F32 { logits } else { logits.cast(DType::F32) };
        let pixels = Pixels::new(&logits, target, self.activation, self.class_weights.as_deref(), group);
        let on_graph = self.terms.iter().filter_map(|term| self.on_graph(term, &logits, &pixels));
        let on_graph = on_graph.reduce(|sum, term| sum + term);
        let off_graph = self.off_graph(&pixels).reduce(Part::add).map(|part| {
            let (value, gradient) = pixels.finish(part);
            gradient.map_or(value.clone(), |gradient| ops::with_gradient(logits.clone(), value, gradient))
        });
        let sum = on_graph.into_iter().chain(off_graph).reduce(|a, b| a + b);
        sum.unwrap_or_else(|| Tensor::zeros([1], &logits.device()))
    }

    /// The cross-entropies, which are steps of the graph.
    fn on_graph(&self, term: &LossTerm, logits: &Tensor<4>, pixels: &Pixels) -> Option<Tensor<1>> {
        match term.kind {
            LossKind::CrossEntropy { label_smoothing } => {
                let loss = cross_entropy::plain(logits.clone(), pixels);
                Some(weighted(loss, term.weight * (1.0 - label_smoothing)))
            }
            LossKind::OhemCrossEntropy { threshold, min_kept } => {
                let loss = cross_entropy::of_hard_pixels(logits.clone(), pixels, threshold, min_kept);
                Some(weighted(loss, term.weight))
            }
            _ => None,
        }
    }

    /// Everything else, with its gradient.
    fn off_graph<'a>(&'a self, pixels: &'a Pixels) -> impl Iterator<Item = Part> + 'a {
        let one = move |&LossTerm { kind, weight }: &LossTerm| {
            let part = match (kind, self.activation) {
                (LossKind::CrossEntropy { label_smoothing }, _) if label_smoothing > 0.0 => {
                    return Some(cross_entropy::of_all_classes(pixels).scale(weight * label_smoothing));
                }
                (LossKind::Bce {}, _) => focal::sigmoid(pixels, 0.0, None),
                (LossKind::Focal { gamma, alpha }, Activation::Sigmoid) => focal::sigmoid(pixels, gamma, alpha),
                (LossKind::Focal { gamma, alpha }, Activation::Softmax) => focal::softmax(pixels, gamma, alpha),
                (LossKind::Lovasz { per_image }, Activation::Sigmoid) => {
                    lovasz::hinge(pixels, per_image).scale(pixels.share_of_samples())
                }
                (LossKind::Lovasz { per_image }, Activation::Softmax) => {
                    lovasz::softmax(pixels, per_image).scale(pixels.share_of_samples())
                }
                _ => return None,
            };
            Some(part.scale(weight))
        };
        let regions: Vec<_> = self.terms.iter().filter_map(LossTerm::region).collect();
        let regions = (!regions.is_empty()).then(|| region::loss(pixels, &regions));
        self.terms.iter().filter_map(one).chain(regions)
    }
}

fn weighted(loss: Tensor<1>, weight: f64) -> Tensor<1> {
    if weight == 1.0 { loss } else { loss.mul_scalar(weight) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(terms: &str, activation: Activation, weights: Option<Vec<f32>>) -> String {
        Loss::new(&parse_terms(terms).unwrap(), activation, weights).unwrap_err().to_string()
    }

    #[test]
    fn losses_that_cannot_work_are_refused() {
        assert_refused!(Loss::new(&[], Activation::Softmax, None), "at least one");
        let said = fault("bce", Activation::Softmax, None);
        assert!(said.contains("`loss.bce`") && said.contains("cross-entropy"), "{said}");
        for name in ["cross-entropy", "ohem-cross-entropy"] {
            let said = fault(&format!("dice+{name}"), Activation::Sigmoid, None);
            assert!(said.contains(&format!("`loss.{name}`")) && said.contains("`bce`"), "{said}");
        }
        assert!(fault("0*dice+0*lovasz", Activation::Softmax, None).contains("nothing to minimise"));
        let weights = [vec![1.0, -1.0], vec![f32::NAN, 1.0], vec![0.0, 0.0], Vec::new()];
        for weights in weights {
            assert!(fault("focal", Activation::Softmax, Some(weights)).contains("class_weights"));
        }
    }

    #[test]
    fn every_other_loss_goes_with_both() {
        for name in ["focal", "dice", "jaccard", "tversky", "focal-tversky", "lovasz"] {
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                Loss::new(&parse_terms(name).unwrap(), activation, Some(vec![1.0, 0.0])).unwrap();
            }
        }
    }
}
