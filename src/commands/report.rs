//! `segtool report`.

use std::path::Path;

use anyhow::Result;
use segtool::base::files::check_writable;
use segtool::run::Run;
use segtool::train::write_report;

use super::say_hardware;
use crate::cli::Report;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

pub(crate) fn run(arguments: &Report) -> Result<Exit> {
    let run = Run::open(&arguments.run)?;
    let is_html = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
    if let Some(path) = arguments.output.as_deref().filter(|path| !is_html(path)) {
        wrong_usage!("--output {}: the name must end in .html", path.display());
    }
    check_writable(&arguments.output.clone().unwrap_or_else(|| run.report_path()))?;
    let device = arguments.device.unwrap_or_default().resolve()?;
    say_hardware(device)?;
    let written = write_report(&run, arguments.output.as_deref(), device, &Progress::new())?;
    ui::result(&format!("report: {}", written.display()));
    Ok(Exit::Done)
}
