//! `segtool bench`.

use anyhow::Result;
use segtool::bench::{Options, Report, run as measure};
use segtool::recipe::Recipe;

use crate::Exit;
use crate::cli::Bench;
use crate::ui;

pub(crate) fn run(arguments: Bench) -> Result<Exit> {
    let options = options(&arguments)?;
    let report = measure(&options)?;
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&report)?);
    } else {
        ui::result(&text(&report));
    }
    Ok(Exit::Done)
}

fn options(arguments: &Bench) -> Result<Options> {
    let mut recipe = Recipe::find(&arguments.recipe)?;
    if let Some(width) = arguments.width {
        recipe.network.set_width(width);
    }
    Ok(Options {
        recipe,
        classes: arguments.classes,
        mode: arguments.mode,
        batch: arguments.batch,
        size: arguments.size,
        device: arguments.device.unwrap_or_default(),
        precision: arguments.precision,
        steps: arguments.steps,
        profile: arguments.profile,
    })
}

/// The line, and below it the profile as a table.
fn text(report: &Report) -> String {
    let mut text = report.to_string();
    let Some(rows) = &report.profile else { return text };
    text.push_str(&format!("\n{:32} {:>12} {:>8} {:>12}", "kind", "time a step", "share", "calls a step"));
    for row in rows {
        let (milliseconds, percent) = (1e3 * row.seconds, 100.0 * row.share);
        text.push_str(&format!("\n{:32} {milliseconds:>9.2} ms {percent:>6.1} % {:>12.1}", row.kind, row.calls));
    }
    text
}
