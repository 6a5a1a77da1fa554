//! `segtool bench`.

mod scaling;

use anyhow::{Result, anyhow};
use segtool::bench::{Difference, Mode, Operators, Options, Report, check, run as measure};
use segtool::nn::precision::Precision;
use segtool::recipe::NetworkRecipe;

use super::say_hardware;
use crate::cli::Bench;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui;

/// Largest relative difference from flex that rounding in float32 explains.
const LIMIT: f64 = 1e-3;
/// Gradients that are shown.
const SHOWN: usize = 3;

pub(crate) fn run(arguments: Bench) -> Result<Exit> {
    let options = options(&arguments)?;
    say_hardware(options.device)?;
    if arguments.check {
        return compare(&options, arguments.json);
    }
    if let Some(exit) = scaling::run(&arguments, &options)? {
        return Ok(exit);
    }
    let report = measure(&options)?;
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&report)?);
    } else {
        ui::result(&text(&report));
    }
    Ok(Exit::Done)
}

/// Compares with flex; fails where float32 is further off than its limit, or where a difference is no number.
fn compare(options: &Options, json: bool) -> Result<Exit> {
    let differences = check(options)?;
    let precision = options.device.settle(options.precision)?;
    let what = format!("{} on {} in {precision}", options.recipe.name, options.device.resolve()?);
    if json {
        ui::result(&serde_json::to_string_pretty(&differences)?);
    } else {
        ui::result(&format!("{what}, relative differences from flex in float32:"));
        for phase in differences.chunk_by(|a, b| a.phase == b.phase) {
            phase.iter().take(2 + SHOWN).for_each(|difference| ui::result(&line(difference)));
            ui::result(&format!("the last {SHOWN} lines are the worst of {} gradients", phase.len() - 2));
        }
    }
    judge(&differences, precision).map_err(|reason| anyhow!("{what} {reason}"))?;
    Ok(Exit::Done)
}

fn line(difference: &Difference) -> String {
    let phase = difference.phase.map_or_else(String::new, |phase| format!("phase {phase}: "));
    format!("{:44} {:.2e}", format!("{phase}{}", difference.what), difference.error)
}

/// What speaks against the differences. One that is no number is never good enough.
fn judge(differences: &[Difference], precision: Precision) -> Result<(), String> {
    if let Some(odd) = differences.iter().find(|difference| !difference.error.is_finite()) {
        return Err(format!("cannot be compared with flex: the difference of {} is {}", odd.what, odd.error));
    }
    if precision == Precision::Float32 && differences.iter().any(|difference| difference.error > LIMIT) {
        return Err(format!("differs from flex by more than {LIMIT}"));
    }
    Ok(())
}

fn options(arguments: &Bench) -> Result<Options> {
    if arguments.own_step && arguments.mode != Mode::Train {
        wrong_usage!("--own-step applies only to training; add --mode train");
    }
    let mut recipe = NetworkRecipe::find_with(&arguments.recipe, &arguments.set)?;
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
    if let Some(Operators { calls, nested, reads, .. }) = report.operators.as_ref() {
        text.push_str(&format!(
            "\n{calls:.1} operator calls a step, {nested:.1} more within operators; {reads:.1} reads"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_no_number_fails_in_every_precision() {
        let differences = |error| [0.0, error].map(|error| Difference { phase: None, what: "loss".into(), error });
        for precision in [Precision::Float32, Precision::Tf32, Precision::Bf16] {
            for odd in [f64::NAN, f64::INFINITY] {
                let said = judge(&differences(odd), precision).unwrap_err();
                assert!(said.contains("cannot be compared"), "{said}");
            }
            assert_eq!(judge(&differences(LIMIT), precision), Ok(()));
            assert_eq!(judge(&differences(2.0 * LIMIT), precision).is_err(), precision == Precision::Float32);
        }
    }
}
