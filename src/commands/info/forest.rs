//! Taps, features, parameters and memory of a recipe of a random forest.

use anyhow::Result;
use segtool::data::Dataset;
use segtool::nn::cost::feature_memory;
use segtool::nn::device::DeviceChoice;
use segtool::nn::model::{ParameterShape, shapes};
use segtool::pixels::hypercolumn::Part;
use segtool::recipe::ForestRecipe;
use serde_json::{Value, json};

use super::Description;
use crate::cli::Info;
use crate::program::exit::wrong_usage;

/// Taps, features, parameters and memory of a recipe of hypercolumns.
pub(super) fn describe(recipe: &ForestRecipe, arguments: &Info) -> Result<Description> {
    if arguments.width.is_some() || arguments.classes.is_some() || arguments.batch != 1 {
        wrong_usage!(
            "--width, --classes and --batch apply only to recipes of networks; {} is a recipe of hypercolumns",
            recipe.name
        );
    }
    let bands = Dataset::find(recipe.dataset.as_deref().unwrap_or("core"))?.bands;
    let (config, device) = (&recipe.features, arguments.device.unwrap_or_default().resolve()?);
    config.check(bands)?;
    let memory = feature_memory(&config.encoder, &config.taps, bands, arguments.size, device)?.bytes(1);
    let encoder = config.encoder.hollow(bands, &config.taps, &DeviceChoice::Flex.open()?)?;
    let parameters: u64 = shapes(&encoder).iter().map(ParameterShape::count).sum();
    let (parts, features) = (config.parts(bands)?, config.features(bands)?);
    let stride = |tap| config.encoder.reach(tap, bands).map(|reach| reach.stride);
    let part = |Part { scale, tap, channels }: &Part| -> Result<Value> {
        Ok(json!({ "tap": tap, "scale": scale, "features": channels, "stride": stride(*tap)? * scale }))
    };
    let json = json!({
        "recipe": recipe.name,
        "encoder": config.encoder.to_string(),
        "bands": bands,
        "taps": parts.iter().map(part).collect::<Result<Vec<_>>>()?,
        "features": features,
        "parameters": parameters,
        "trees": recipe.forest.trees,
        "height": arguments.size.height,
        "width": arguments.size.width,
        "device": device.to_string(),
        "memory": memory,
    });
    let [height, width] = [arguments.size.height, arguments.size.width];
    let mut lines = vec![
        format!("{}, {bands} bands, {parameters} parameters up to the last tap", config.encoder),
        format!("{:20}  {:>8}  {:>6}", "tap", "features", "stride"),
    ];
    for part in &parts {
        let name = part.to_string();
        lines.push(format!("{name:20}  {:>8}  {:>6}", part.channels, stride(part.tap)? * part.scale));
    }
    lines.push(format!("{:20}  {features:>8}", "all"));
    lines.push(format!("forest of {} trees", recipe.forest.trees));
    let mebibytes = memory.div_ceil(1 << 20);
    lines.push(format!("features of a window of {height} x {width} on {device}: {mebibytes} MiB"));
    Ok(Description { lines, json })
}
