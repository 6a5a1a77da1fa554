//! `segtool report`.

use anyhow::Result;
use segtool::base::files::check_writable;
use segtool::run::Run;
use segtool::train::write_report;

use crate::cli::Report;
use crate::exit::{Exit, wrong_usage};
use crate::ui::{self, Progress};

pub(crate) fn run(arguments: &Report) -> Result<Exit> {
    let run = Run::open(&arguments.run)?;
    if let Some(path) = &arguments.output {
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("html")) {
            wrong_usage!("--output {}: the name must end in .html", path.display());
        }
        check_writable(path)?;
    }
    let device = arguments.device.unwrap_or_default().resolve()?;
    let written = write_report(&run, arguments.output.as_deref(), device, &Progress::new())?;
    ui::result(&format!("report: {}", written.display()));
    Ok(Exit::Done)
}
