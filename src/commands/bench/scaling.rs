//! `segtool bench` in several processes: one line for each number of processes.

use anyhow::{Context, Result};
use segtool::base::words::{counted, mebibytes};
use segtool::bench::{Mode, Options, ScalingPoint, run_among};
use segtool::nn::group::{Membership, threads_each, use_threads};

use crate::cli::{Bench, Synchronised};
use crate::commands::together::{self, Member};
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui;

/// The head of the table.
const HEAD: [&str; 8] =
    ["processes", "global batch", "ms a step", "images/s", "efficiency", "collectives", "transfer", "sent"];

/// Measures in several processes. `None` if neither the options nor a launcher ask for that.
pub(super) fn run(arguments: &Bench, options: &Options) -> Result<Option<Exit>> {
    if arguments.sync_batch_norm.is_some() && arguments.mode != Mode::Train {
        wrong_usage!("--sync-batch-norm applies only to training; add --mode train");
    }
    let membership = Membership::from_environment()?;
    if let Some(threads) = arguments.line {
        return line(arguments, options, membership, threads).map(Some);
    }
    if let Some(membership) = membership {
        if arguments.profile {
            wrong_usage!("--profile measures one process; leave it out, or start segtool bench without a launcher");
        }
        return of_launcher(arguments, options, membership).map(Some);
    }
    let most = match (&arguments.devices, arguments.processes) {
        (Some(devices), _) => Some(together::count_of(devices)?),
        (None, processes) => processes,
    };
    let of_several = [
        ("--sync-batch-norm", arguments.sync_batch_norm.is_some()),
        ("--collectives", arguments.collectives.is_some()),
    ];
    if let Some((flag, _)) = of_several.iter().find(|(_, given)| *given && most.is_none()) {
        wrong_usage!("{flag} applies only to several processes; add --devices or --processes");
    }
    most.map(|most| table(arguments, most)).transpose()
}

/// The numbers of processes up to `most`.
fn numbers(most: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|n| *n < most).collect();
    numbers.push(most);
    numbers
}

/// Starts the program once for each number of processes, and prints a line for each.
fn table(arguments: &Bench, most: usize) -> Result<Exit> {
    if most > 1 && !cfg!(feature = "libtorch") {
        wrong_usage!(
            "{most} processes need libtorch's collectives, which this program was built without; build segtool with the \
             feature libtorch (see the README)"
        );
    }
    together::check_device(arguments.device.unwrap_or_default(), most)?;
    let threads = threads_each(most);
    let mut points: Vec<ScalingPoint> = Vec::new();
    for processes in numbers(most) {
        let (exit, printed) = together::launch_and_read(processes, &["--line".into(), threads.to_string()])?;
        if exit != Exit::Done {
            return Ok(exit);
        }
        let point: ScalingPoint = serde_json::from_str(&printed)
            .with_context(|| format!("cannot read what process 0 of {processes} printed: '{}'", printed.trim()))?;
        let one = points.first().unwrap_or(&point).clone();
        let point = point.relative_to(&one);
        if !arguments.json {
            if points.is_empty() {
                ui::result(&title(&point, Some(threads)));
            }
            ui::result(&text(&point));
        }
        points.push(point);
    }
    if arguments.json {
        ui::result(&serde_json::to_string_pretty(&points)?);
    }
    Ok(Exit::Done)
}

/// Measures as one of the processes that this program has started for a line; process 0 prints the result for it to
/// read.
fn line(arguments: &Bench, options: &Options, membership: Option<Membership>, threads: usize) -> Result<Exit> {
    let Some(membership) = membership else {
        together::share_threads(threads);
        use_threads(threads);
        let point = measured(arguments, options, None)?;
        ui::result(&serde_json::to_string(&point)?);
        return Ok(Exit::Done);
    };
    together::as_member(membership, threads, |member| {
        let point = measured(arguments, options, Some(member))?;
        if member.leads() {
            ui::result(&serde_json::to_string(&point)?);
        }
        Ok(Exit::Done)
    })
}

/// The line of the processes that a launcher has started.
fn of_launcher(arguments: &Bench, options: &Options, membership: Membership) -> Result<Exit> {
    let threads = threads_each(membership.local_size);
    together::as_member(membership, threads, |member| {
        let point = measured(arguments, options, Some(member))?;
        if member.leads() && arguments.json {
            ui::result(&serde_json::to_string_pretty(&[point])?);
        } else if member.leads() {
            ui::result(&title(&point, None));
            ui::result(&text(&point));
        }
        Ok(Exit::Done)
    })
}

fn measured(arguments: &Bench, options: &Options, member: Option<&Member>) -> Result<ScalingPoint> {
    let (membership, group) = (member.map(|member| &member.membership), member.map(|member| &member.group));
    let device = together::device(arguments.device, arguments.devices.as_ref(), membership);
    together::check_device(device, membership.map_or(1, |membership| membership.size))?;
    let synchronised = arguments.sync_batch_norm.and_then(Synchronised::choice);
    let collectives = arguments.collectives.unwrap_or_default();
    Ok(run_among(&Options { device, ..options.clone() }, group, synchronised, collectives)?)
}

/// What was measured, and the head of the table below it.
fn title(point: &ScalingPoint, threads: Option<usize>) -> String {
    let ScalingPoint { recipe, mode, device, precision, batch, size, .. } = point;
    let threads = match threads {
        Some(threads) if !device.contains("cuda") => format!(", {} a process", counted(threads, "thread")),
        _ => String::new(),
    };
    let images = counted(*batch, "image");
    let what = format!("segtool-{recipe}-{mode}-{device}-{precision} s{size}, {images} a process{threads}");
    format!("{what}\n{}", columns(&HEAD.map(str::to_owned)))
}

fn text(point: &ScalingPoint) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    columns(&[
        point.processes.to_string(),
        (point.batch * point.processes).to_string(),
        format!("{:.2}", 1e3 * point.seconds),
        format!("{:.2}", point.images_per_second),
        point.efficiency.map_or_else(|| "-".to_owned(), percent),
        point.collectives.map_or_else(|| "-".to_owned(), percent),
        percent(point.transfer),
        size(point.bytes),
    ])
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{:.1} KiB", bytes as f64 / 1024.0) } else { mebibytes(bytes) }
}

fn columns(cells: &[String]) -> String {
    cells.iter().map(|cell| format!("{cell:>12}")).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_and_the_number_asked_for_are_measured() {
        let all: Vec<Vec<usize>> = [1, 2, 3, 4, 6, 8].into_iter().map(numbers).collect();
        assert_eq!(all, [vec![1], vec![1, 2], vec![1, 2, 3], vec![1, 2, 4], vec![1, 2, 4, 6], vec![1, 2, 4, 8]]);
    }
}
