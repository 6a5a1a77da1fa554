//! What requests of label mode say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::classes::LabelClass;
use super::patch::{Patch, Rect};
use super::project::Change;
use crate::base::{Error, Result, require};

/// Longest name of a tab.
const LONGEST_NAME: usize = 100;
/// Most patches of a request.
const MOST_PATCHES: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewClasses {
    pub(super) revision: u64,
    pub(super) classes: Vec<LabelClass>,
    #[serde(default)]
    pub(super) drop_pixels: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPatches {
    revision: u64,
    tab: String,
    patches: Vec<NewPatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPatch {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    values: String,
}

impl NewPatches {
    /// With the values of pixels as bytes.
    pub(super) fn decoded(self) -> Result<Change> {
        let Self { revision, tab, patches } = self;
        let letters = tab.chars().count();
        require(
            letters <= LONGEST_NAME,
            "tab",
            format!("{letters} characters long"),
            format!("at most {LONGEST_NAME}"),
        )?;
        let count = patches.len();
        require(count <= MOST_PATCHES, "patches", format!("a list of {count}"), format!("at most {MOST_PATCHES}"))?;
        let patches = patches.into_iter().map(NewPatch::decoded).collect::<Result<_>>()?;
        Ok(Change { revision, tab, patches })
    }
}

impl NewPatch {
    fn decoded(self) -> Result<Patch> {
        let Self { x, y, width, height, values } = self;
        let wrong = |e| Error::invalid("values", format!("no base64 ({e})"), "bytes in base64, one for each pixel");
        Ok(Patch { rect: Rect { x, y, width, height }, values: STANDARD.decode(values).map_err(wrong)? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToTrain {
    #[serde(default)]
    image: usize,
    view: Option<[usize; 4]>,
}

impl ToTrain {
    /// The part of an image that is shown.
    pub(super) fn view(&self) -> Option<(usize, Rect)> {
        self.view.map(|[x, y, width, height]| (self.image, Rect { x, y, width, height }))
    }
}

/// A part of an image.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) model: Option<u64>,
    x: Option<usize>,
    y: Option<usize>,
    width: Option<usize>,
    height: Option<usize>,
}

impl Part {
    /// Which; all of the image if nothing says.
    pub(super) fn rect(&self) -> Result<Option<Rect>> {
        match (self.x, self.y, self.width, self.height) {
            (None, None, None, None) => Ok(None),
            (Some(x), Some(y), Some(width), Some(height)) => Ok(Some(Rect { x, y, width, height })),
            _ => Err(Error::conflict("x", "belongs together with y, width and height; give all four of them, or none")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToSuggest {
    pub(super) model: Option<u64>,
    #[serde(default = "some")]
    pub(super) count: usize,
}

fn some() -> usize {
    10
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithModel {
    pub(super) model: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithRun {
    pub(super) run: String,
}
