//! `segtool info`.

mod features;
mod forest;
mod network;

use anyhow::Result;
use segtool::base::Error;
use segtool::data::Dataset;
use segtool::nn::device::DeviceChoice;
use segtool::recipe::Recipe;
use segtool::weights::{cache, entries};
use serde_json::Value;

use crate::cli::Info;
use crate::program::exit::Exit;
use crate::program::ui;

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
    if arguments.devices {
        list_devices();
    }
    if let Some(name) = &arguments.print {
        ui::result(built_in_file(name)?.trim_end());
    }
    if let Some(image) = &arguments.features {
        return features::draw(arguments, image);
    }
    if let Some(name) = &arguments.recipe {
        describe(name, arguments)?;
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

/// Every device that this build finds on this machine.
fn list_devices() {
    for (device, hardware) in DeviceChoice::all() {
        ui::result(&format!("{:15} {hardware}", device.to_string()));
    }
}

/// What a recipe is made of and what it needs.
struct Description {
    /// For people, a line each.
    lines: Vec<String>,
    /// For programs.
    json: Value,
}

fn describe(name: &str, arguments: &Info) -> Result<()> {
    let Description { lines, json } = match Recipe::find(name)? {
        Recipe::Network(recipe) => network::describe(*recipe, arguments)?,
        Recipe::Forest(recipe) => forest::describe(&recipe, arguments)?,
    };
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&json)?);
    } else {
        lines.iter().for_each(|line| ui::result(line));
    }
    Ok(())
}
