//! A network scored on labelled pictures, and the way between batches and tensors that training shares.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::data::{Batch, Loader};
use crate::error::{Error, Result};
use crate::event::{Event, Sink, Task};
use crate::label::IGNORE;
use crate::loss::Target;
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

/// The most probable class of every pixel, `[count, height, width]` row by row. A single output is a sigmoid: class 1
/// where it is above one half.
pub fn classes(logits: Tensor<4>) -> Result<Vec<u16>> {
    let [_, outputs, _, _] = logits.dims();
    let picked: Vec<i32> = if outputs == 1 {
        logits.greater_elem(0.0).int().try_into_vec_as()
    } else {
        argmax_channels(logits).try_into_vec_as()
    }
    .map_err(|e| Error::Device(format!("the result could not be read from the device: {e}")))?;
    Ok(picked.into_iter().map(|c| c as u16).collect())
}

/// Predicts every picture of the loader and counts against its labels. `None` if `stop` was set before the end.
pub fn evaluate(
    network: &Network,
    loader: &Loader,
    precision: Precision,
    device: &Device,
    stop: &AtomicBool,
    sink: &dyn Sink,
) -> Result<Option<ConfusionMatrix>> {
    let mut matrix = ConfusionMatrix::new(loader.descriptor.class_count());
    sink.event(Event::Started { task: Task::Validate, total: loader.pairs.len(), done: 0 });
    let mut done = 0;
    for batches in loader.in_order() {
        for batch in batches? {
            let predictions = classes(network.forward(input_tensor(&batch, precision, device)))?;
            matrix.add(&batch.classes, &predictions);
            done += batch.count;
        }
        sink.event(Event::Advanced { done, loss: None });
        if stop.load(Ordering::Relaxed) && done < loader.pairs.len() {
            sink.event(Event::Finished);
            return Ok(None);
        }
    }
    sink.event(Event::Finished);
    Ok(Some(matrix))
}
