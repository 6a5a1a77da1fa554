//! What a forest is scored on.

use serde::Serialize;

use crate::base::named_enum::named_enum;

/// Which labelled pixels a forest is scored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Whole connected regions, each held out once: what a user may expect elsewhere on the core. Single pixels, too.
    #[default]
    Region,
    /// Single pixels alone, as published. Their neighbours look the same and are learnt from, so the score is too good.
    Pixel,
    /// None.
    None,
}

named_enum!(Split, "split", "region" => Region, "pixel" => Pixel, "none" => None);
