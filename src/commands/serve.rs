//! `segtool serve`.

use anyhow::{Context, Result};
use segtool::base::words::counted;
use segtool::serve::labelling::LabelOptions;
use segtool::serve::{Access, Compute, Limits, Server, Settings};
use segtool::weights::locate;

use super::stop::Stop;
use super::{say_hardware, say_precision, use_threads};
use crate::cli::{Serve, Tile};
use crate::program::exit::Exit;
use crate::program::ui::{self, Progress};

/// Where a token may stand that is not to be seen in the list of processes.
const TOKEN: &str = "SEGTOOL_TOKEN";

pub(crate) fn run(arguments: &Serve) -> Result<Exit> {
    if arguments.threads.is_some() {
        use_threads(arguments.threads)?;
    }
    let progress = Progress::new();
    let settings = settings(arguments, &progress)?;
    settings.check()?;
    let stop = Stop::announcing("stopping the server")?;
    let warned = !settings.host.is_loopback() && settings.access.token.is_none();
    let label = settings.label.is_some();
    let server = Server::open(settings)?;
    ui::result(&server.url());
    if warned {
        ui::warn("warning: --insecure: whoever can reach this address can use the models and see all results");
    }
    let models = counted(server.models().all().len(), "model");
    let labels = if label { ", and images to label" } else { "" };
    ui::say(&format!("serving {models}{labels}; press Ctrl-C to end"));
    server.run(stop.flag())?;
    Ok(Exit::Done)
}

fn settings(arguments: &Serve, progress: &Progress) -> Result<Settings> {
    let tile = match arguments.tile {
        Some(Tile::Side(side)) => Some(side),
        Some(Tile::Auto) | None => None,
    };
    let device = arguments.device.unwrap_or_default();
    let precision = device.settle(arguments.precision)?;
    say_precision(arguments.precision, precision, device);
    say_hardware(device)?;
    Ok(Settings {
        runs: arguments.run.clone(),
        label: label(arguments, progress)?,
        host: arguments.host,
        port: arguments.port,
        access: Access { token: token(arguments)?, insecure: arguments.insecure, hosts: arguments.allow_host.clone() },
        allow_url: arguments.allow_url,
        compute: Compute { device, precision, tile, memory: arguments.memory },
        limits: Limits {
            queue: arguments.max_queue,
            bytes: arguments.max_size,
            pixels: arguments.max_pixels,
            time: arguments.max_time,
            ..Limits::default()
        },
    })
}

fn token(arguments: &Serve) -> Result<Option<String>> {
    if arguments.token.is_some() || arguments.insecure {
        return Ok(arguments.token.clone());
    }
    match std::env::var(TOKEN) {
        Ok(token) if token.is_empty() => Ok(None),
        Ok(token) => Ok(Some(token)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(fault) => Err(fault).context(format!("the environment variable {TOKEN} cannot be read")),
    }
}

fn label(arguments: &Serve, progress: &Progress) -> Result<Option<LabelOptions>> {
    let Some(path) = &arguments.label else { return Ok(None) };
    let usual = LabelOptions::find(path, arguments.recipe.as_deref())?;
    let (labels, weights) = (arguments.labels.clone(), locate(&arguments.weights, progress)?);
    let (device, memory) = (arguments.device.unwrap_or_default(), arguments.memory);
    Ok(Some(LabelOptions { labels, weights, device, memory, ..usual }))
}
