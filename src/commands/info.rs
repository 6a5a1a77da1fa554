//! `segtool info`.

use anyhow::Result;
use segtool::base::Error;
use segtool::data::Dataset;
use segtool::nn::cost::{Held, Layer, Memory, Summary, summarise};
use segtool::recipe::{NetworkRecipe, OptimizerConfig, Recipe};
use segtool::weights::{cache, entries};
use serde_json::{Value, json};

use super::pixels;
use crate::cli::Info;
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &Info) -> Result<Exit> {
    if arguments.weights {
        list_weights()?;
    }
    if arguments.recipes {
        for name in Recipe::names() {
            ui::result(&format!("{name:22} {}", Recipe::find(name)?.summary()));
        }
    }
    if arguments.datasets {
        for name in Dataset::names() {
            ui::result(&format!("{name:22} {}", Dataset::find(name)?.title));
        }
    }
    if let Some(name) = &arguments.print {
        ui::result(built_in_file(name)?.trim_end());
    }
    if let Some(image) = &arguments.features {
        return pixels::draw_features(arguments, image);
    }
    if let Some(name) = &arguments.recipe {
        match Recipe::find(name)? {
            Recipe::Network(recipe) => describe(*recipe, arguments)?,
            Recipe::Forest(recipe) => return pixels::describe(&recipe, arguments),
        }
    }
    Ok(Exit::Done)
}

/// The text of the file of a built-in recipe or data set.
fn built_in_file(name: &str) -> Result<&'static str, Error> {
    Recipe::built_in_text(name).or_else(|| Dataset::built_in_text(name)).ok_or_else(|| {
        Error::unknown("recipe or data set", name, &Recipe::names().chain(Dataset::names()).collect::<Vec<_>>())
    })
}

fn list_weights() -> Result<()> {
    for entry in entries() {
        let place = if entry.is_cached() { "downloaded" } else { "" };
        let (name, format, size) = (&entry.name, &entry.format, entry.size);
        ui::result(&format!(
            "{name:27} {format:11} {size:4} MiB  {:12} {:10}  {}",
            entry.license, place, entry.summary
        ));
        ui::result(&format!("{:27} {} (SHA-256 {})", "", entry.url, entry.sha256));
    }
    ui::result(&format!("downloads are kept in {}", cache()?.display()));
    Ok(())
}

/// Layers, parameters, multiply-adds and memory of a recipe.
fn describe(mut recipe: NetworkRecipe, arguments: &Info) -> Result<()> {
    if let Some(width) = arguments.width {
        recipe.network.set_width(width);
    }
    let network = recipe.fitted_network(arguments.classes)?;
    let device = arguments.device.unwrap_or_default().resolve()?;
    let summary = summarise(&network, arguments.size, device)?;
    if arguments.json {
        let (bands, classes) = network.bands_and_outputs();
        let report = json!({
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
        ui::result(&serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    for line in table(&summary) {
        ui::result(&line);
    }
    let [height, width] = [arguments.size.height, arguments.size.width];
    ui::result(&format!("\nmemory on {device}, {height} x {width}, batch {}:", arguments.batch));
    ui::result(&format!("inference {}", memory_line(&summary.inference, arguments.batch)));
    let more = match recipe.training.optimizer {
        OptimizerConfig::Adam { .. } | OptimizerConfig::AdamW { .. } => {
            format!("; Adam: {} more", mebibytes(4 * summary.parameters))
        }
        OptimizerConfig::Sgd { .. } => String::new(),
    };
    ui::result(&format!("training  {}{more}", memory_line(&summary.training, arguments.batch)));
    Ok(())
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
        [layer.name.clone(), kind, output, grouped(layer.parameters), grouped(layer.multiply_adds)]
    };
    let total =
        ["total".into(), String::new(), String::new(), grouped(summary.parameters), grouped(summary.multiply_adds)];
    let rows: Vec<[String; 5]> = [heading].into_iter().chain(summary.layers.iter().map(row)).chain([total]).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let [w0, w1, w2, w3, w4] = [0, 1, 2, 3, 4].map(width);
    rows.iter().map(|[a, b, c, d, e]| format!("{a:w0$}  {b:w1$}  {c:>w2$}  {d:>w3$}  {e:>w4$}")).collect()
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes.div_ceil(1 << 20)))
}

/// A number with commas between the thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}
