//! `segtool export`.

use anyhow::Result;
use segtool::base::inputs::ReadFiles;
use segtool::weights::{Weights, locate};

use crate::cli::Export;
use crate::program::exit::Exit;
use crate::program::ui::{self, Progress};

pub(crate) fn run(arguments: Export) -> Result<Exit> {
    let files = locate(&arguments.files, &Progress::new())?;
    let read = ReadFiles::new(&files);
    // For CSAIL, the output is a folder with two files.
    for output in [arguments.output.clone(), arguments.output.join("encoder.pth"), arguments.output.join("decoder.pth")]
    {
        read.refuse(&output, "output")?;
    }
    let weights = Weights::open_chosen(&files, None, &arguments.chosen.choice())?;
    let (written, notes) = weights.export(arguments.to, &arguments.output)?;
    for note in notes {
        ui::say(&format!("note: {note}"));
    }
    for path in written {
        ui::result(&format!("exported: {}", path.display()));
    }
    Ok(Exit::Done)
}
