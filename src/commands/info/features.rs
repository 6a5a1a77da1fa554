//! `segtool info --features`: a channel of an encoder's layer as an image.

use std::path::Path;

use anyhow::{Context, Result};
use segtool::base::files::check_writable;
use segtool::base::inputs::ReadFiles;
use segtool::draw::{color_probabilities, write_png};
use segtool::predict::forest::{ChannelImage, draw_channel};
use segtool::recipe::Recipe;
use segtool::run::Run;
use segtool::weights::{Weights, locate};

use crate::cli::Info;
use crate::program::exit::{Exit, wrong_usage};
use crate::program::ui::{self, Progress};

/// Says, before any work, whether a PNG can be written, and that it would not take the place of the image.
fn check_output(image: &Path, output: &Path) -> Result<()> {
    if !output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        wrong_usage!("{} is written as PNG; give it a name that ends in .png", output.display());
    }
    ReadFiles::new([image]).refuse(output, "output")?;
    Ok(check_writable(output)?)
}

/// Draws what a channel of an encoder's layer shows of an image.
pub(super) fn draw(arguments: &Info, image: &Path) -> Result<Exit> {
    let (tap, channel) =
        (arguments.tap.context("--tap is missing")?, arguments.channel.context("--channel is missing")?);
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let output = arguments.output.clone().unwrap_or_else(|| format!("{stem}_{tap}_{channel}.png").into());
    check_output(image, &output)?;
    let device = arguments.device.unwrap_or_default().resolve()?;
    let drawn = match &arguments.run {
        Some(folder) => match Run::open(folder)? {
            Run::Forest(run) => draw_channel(image, tap, channel, ChannelImage::of_run(&run, device)?)?,
            Run::Network(_) => {
                wrong_usage!(
                    "{} is a run of a network; with --features, --run takes a run of a random forest",
                    folder.display()
                )
            }
        },
        None => {
            let name = arguments.recipe.as_deref().unwrap_or("hypercolumn-core");
            let Recipe::Forest(recipe) = Recipe::find(name)? else {
                wrong_usage!("recipe '{name}' is for a network; --features takes a recipe of hypercolumns");
            };
            let weights = match &arguments.encoder_weights[..] {
                [] => {
                    let way = "give pretrained ones with --encoder-weights vgg16-imagenet";
                    ui::say(&format!("note: the encoder's weights are random; {way}"));
                    None
                }
                sources => Some(Weights::open(&locate(sources, &Progress::new())?, None)?),
            };
            draw_channel(image, tap, channel, ChannelImage::of_recipe(&recipe, weights.as_ref(), device)?)?
        }
    };
    write_png(&output, &color_probabilities(&drawn.shares, drawn.size.width))?;
    let (low, high) = (drawn.limits.0, drawn.limits.1);
    ui::result(&format!("drawn: {} ({}, from {low:.4}, dark, to {high:.4}, light)", output.display(), drawn.size));
    Ok(Exit::Done)
}
