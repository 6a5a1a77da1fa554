//! A network scored on labelled pictures, and the way between batches and tensors that training shares.

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

use crate::activation::Rule;
use crate::data::{Batch, Loader};
use crate::error::{Error, Result};
use crate::event::{Event, Sink, Task};
use crate::label::{IGNORE, LabelMap};
use crate::loss::{Loss, Target};
use crate::metric::ConfusionMatrix;
use crate::model::Network;
use crate::ops::argmax_channels;
use crate::precision::Precision;

/// The input of a batch on the device, `[count, bands, height, width]`.
pub fn input_tensor(batch: &Batch, precision: Precision, device: &Device) -> Tensor<4> {
    let shape = [batch.count, batch.bands, batch.size.height, batch.size.width];
    precision.of_input(Tensor::from_data(TensorData::new(batch.planes.clone(), shape), device))
}

/// The labels of a batch on the device.
pub fn target(batch: &Batch, device: &Device) -> Target {
    let shape = [batch.count, batch.size.height, batch.size.width];
    let classes: Vec<i32> = batch.classes.iter().map(|&c| if c == IGNORE { 0 } else { i32::from(c) }).collect();
    let labelled = batch.classes.contains(&IGNORE).then(|| {
        let mask: Vec<bool> = batch.classes.iter().map(|&c| c != IGNORE).collect();
        Tensor::<3, Bool>::from_data(TensorData::new(mask, shape), device)
    });
    Target { classes: Tensor::<3, Int>::from_data(TensorData::new(classes, shape), device), labelled }
}

/// The class of every pixel by `rule`, from logits `[count, outputs, height, width]`; row by row.
pub fn classes(logits: Tensor<4>, rule: Rule) -> Result<Vec<u16>> {
    let scores = match rule {
        Rule::MostProbable => logits,
        // The background wins where no other class is above the threshold's logit.
        Rule::Above(threshold) => {
            let [count, _, height, width] = logits.dims();
            let logits = if logits.dtype() == DType::F32 { logits } else { logits.cast(DType::F32) };
            let limit = Tensor::full([count, 1, height, width], Rule::logit(threshold), (&logits.device(), DType::F32));
            Tensor::cat(vec![limit, logits], 1)
        }
    };
    let picked: Vec<i32> = argmax_channels(scores)
        .try_into_vec_as()
        .map_err(|e| Error::Device(format!("the result could not be read from the device: {e}")))?;
    Ok(picked.into_iter().map(|c| c as u16).collect())
}

/// Receives each picture's place in the loader's pairs, its label and its prediction.
pub type OnPicture<'a> = dyn FnMut(usize, &LabelMap, &LabelMap) + 'a;

/// How labelled pictures are predicted and scored.
#[derive(Debug)]
pub struct Examination<'a> {
    /// The pictures.
    pub loader: &'a Loader,
    /// How scores become classes.
    pub rule: Rule,
    /// In which numbers to compute.
    pub precision: Precision,
    /// Where.
    pub device: &'a Device,
    /// What is to be computed besides the classes.
    pub loss: Option<&'a Loss>,
}

/// What came of it.
#[derive(Debug)]
pub struct Findings {
    /// Every labelled pixel, counted.
    pub matrix: ConfusionMatrix,
    /// Mean of the batches' losses, weighted by images; NaN if a score is not a number.
    pub loss: Option<f64>,
}

impl Examination<'_> {
    /// Predicts every picture and counts against its labels. `None` if `is_over` said so before the end.
    pub fn run(
        &self,
        network: &Network,
        is_over: &dyn Fn() -> bool,
        sink: &dyn Sink,
        on_picture: &mut OnPicture<'_>,
    ) -> Result<Option<Findings>> {
        let total = self.loader.pairs.len();
        let mut matrix = ConfusionMatrix::new(self.loader.descriptor.class_count());
        sink.event(Event::Started { task: Task::Validate, total, done: 0 });
        let (mut done, mut losses) = (0, 0.0);
        for batches in self.loader.in_order() {
            for batch in batches? {
                let logits = network.forward(input_tensor(&batch, self.precision, self.device));
                if let Some(loss) = self.loss {
                    let loss = loss.compute(logits.clone(), &target(&batch, self.device)).into_scalar::<f32>();
                    // A loss may be finite although scores are not, and these would be taken for the first class.
                    let numeric = logits.clone().sum().into_scalar::<f32>().is_finite();
                    losses += if numeric { f64::from(loss) * batch.count as f64 } else { f64::NAN };
                }
                let predictions = classes(logits, self.rule)?;
                matrix.add(&batch.classes, &predictions);
                each_picture(&batch, &predictions, on_picture);
                done += batch.count;
            }
            sink.event(Event::Advanced { done, loss: None });
            if done < total && is_over() {
                sink.event(Event::Finished);
                return Ok(None);
            }
        }
        sink.event(Event::Finished);
        Ok(Some(Findings { matrix, loss: self.loss.map(|_| losses / total.max(1) as f64) }))
    }
}

fn each_picture(batch: &Batch, predictions: &[u16], on_picture: &mut OnPicture<'_>) {
    let pixels = batch.size.width * batch.size.height;
    let map = |classes: &[u16]| LabelMap { size: batch.size, classes: classes.to_vec() };
    let pictures = batch.classes.chunks_exact(pixels).zip(predictions.chunks_exact(pixels));
    for (&index, (labels, prediction)) in batch.indices.iter().zip(pictures) {
        on_picture(index, &map(labels), &map(prediction));
    }
}
