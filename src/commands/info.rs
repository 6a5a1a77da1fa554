//! `segtool info`.

use anyhow::Result;
use segtool::data::Descriptor;
use segtool::recipe::Recipe;
use segtool::weights::{cache, entries};

use crate::Exit;
use crate::cli::Info;
use crate::ui;

pub(crate) fn run(arguments: &Info) -> Result<Exit> {
    if arguments.weights {
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
    }
    if arguments.recipes {
        for name in Recipe::names() {
            ui::result(&format!("{name:22} {}", Recipe::find(name)?.summary));
        }
    }
    if arguments.datasets {
        for name in Descriptor::names() {
            ui::result(&format!("{name:22} {}", Descriptor::find(name)?.title));
        }
    }
    Ok(Exit::Done)
}
