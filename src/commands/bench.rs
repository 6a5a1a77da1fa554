//! `segtool bench`.

use anyhow::{Result, bail};
use segtool::bench::{Mode, Options, Report, check, run as measure};
use segtool::precision::Precision;
use segtool::recipe::Recipe;

use crate::Exit;
use crate::cli::Bench;
use crate::ui;

/// Largest relative difference from flex that rounding in float32 explains.
const LIMIT: f64 = 1e-3;
/// Gradients that are shown.
const SHOWN: usize = 3;

pub(crate) fn run(arguments: Bench) -> Result<Exit> {
    let options = options(&arguments)?;
    if arguments.check {
        return compare(&options, arguments.json);
    }
    let report = measure(&options)?;
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&report)?);
    } else {
        ui::result(&text(&report));
    }
    Ok(Exit::Done)
}

/// Compares with flex; fails where float32 is further off than its limit.
fn compare(options: &Options, json: bool) -> Result<Exit> {
    let differences = check(options)?;
    let what = format!("{} on {} in {}", options.recipe.name, options.device.resolve()?, options.precision);
    if json {
        ui::result(&serde_json::to_string_pretty(&differences)?);
    } else {
        ui::result(&format!("{what}, relative differences from flex in float32:"));
        for difference in differences.iter().take(2 + SHOWN) {
            ui::result(&format!("{:44} {:.2e}", difference.what, difference.error));
        }
        ui::result(&format!("the last {SHOWN} are the worst gradients of {}", differences.len() - 2));
    }
    let within = differences.iter().all(|difference| difference.error <= LIMIT);
    if options.precision == Precision::Float32 && !within {
        bail!("{what} differs from flex by more than {LIMIT}");
    }
    Ok(Exit::Done)
}

fn options(arguments: &Bench) -> Result<Options> {
    if arguments.own_step && arguments.mode != Mode::Train {
        bail!("--own-step is about training; give --mode train, too");
    }
    let mut recipe = Recipe::find_with(&arguments.recipe, &arguments.set)?;
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
        own_step: arguments.own_step,
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
