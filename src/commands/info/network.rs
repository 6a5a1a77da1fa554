//! Layers, parameters, multiply-adds and memory of a recipe of a network.

use anyhow::Result;
use segtool::base::words::count;
use segtool::nn::cost::{Held, Layer, Memory, Summary, summarise};
use segtool::recipe::{NetworkRecipe, OptimizerKind};
use serde_json::{Value, json};

use super::Description;
use crate::cli::Info;
use crate::commands::aligned;

/// Layers, parameters, multiply-adds and memory of a recipe.
pub(super) fn describe(mut recipe: NetworkRecipe, arguments: &Info) -> Result<Description> {
    if let Some(width) = arguments.width {
        recipe.network.set_width(width);
    }
    let network = recipe.fitted_network(arguments.classes)?;
    let device = arguments.device.unwrap_or_default().resolve()?;
    let summary = summarise(&network, arguments.size, device)?;
    let (bands, classes) = network.bands_and_outputs();
    let json = json!({
        "recipe": recipe.name,
        "bands": bands,
        "classes": classes,
        "height": arguments.size.height,
        "width": arguments.size.width,
        "batch": arguments.batch,
        "device": device.to_string(),
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "memory": {
            "inference": memory(&summary.inference, arguments.batch),
            "training": memory(&summary.training, arguments.batch),
        },
        "layers": summary.layers,
    });
    let [height, width] = [arguments.size.height, arguments.size.width];
    let more = match recipe.training.optimizer.kind {
        OptimizerKind::Adam(_) | OptimizerKind::AdamW(_) => {
            format!("; Adam: {} more", mebibytes(4 * summary.parameters))
        }
        OptimizerKind::Sgd { .. } => String::new(),
    };
    let mut lines = table(&summary);
    lines.push(format!("\nmemory on {device}, {height} x {width}, batch {}:", arguments.batch));
    lines.push(format!("inference {}", memory_line(&summary.inference, arguments.batch)));
    lines.push(format!("training  {}{more}", memory_line(&summary.training, arguments.batch)));
    Ok(Description { lines, json })
}

fn memory(memory: &Memory, batch: usize) -> Value {
    let Held { fixed, per_image } = memory.parts(batch);
    json!({ "bytes": memory.bytes(batch), "fixed": fixed, "per_image": per_image })
}

fn memory_line(memory: &Memory, batch: usize) -> String {
    let Held { fixed, per_image } = memory.parts(batch);
    let [whole, fixed, per_image] = [memory.bytes(batch), fixed, per_image].map(mebibytes);
    format!("{whole:>14}: {fixed} and {per_image} an image")
}

/// The layers, with columns as wide as they need be, and the totals.
fn table(summary: &Summary) -> Vec<String> {
    let heading = ["layer", "kind", "output", "parameters", "multiply-adds"].map(str::to_owned);
    let row = |layer: &Layer| {
        let [channels, height, width] = layer.output;
        let output = format!("{channels} x {height} x {width}");
        let kind = format!("{}{}", layer.kind, if layer.training_only { " (training)" } else { "" });
        [layer.name.clone(), kind, output, count(layer.parameters), count(layer.multiply_adds)]
    };
    let total = ["total".into(), String::new(), String::new(), count(summary.parameters), count(summary.multiply_adds)];
    let rows: Vec<[String; 5]> = [heading].into_iter().chain(summary.layers.iter().map(row)).chain([total]).collect();
    aligned(&rows, &[0, 1])
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", count(bytes.div_ceil(1 << 20)))
}
