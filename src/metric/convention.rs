//! How different projects score: the same counts, other means.

use serde::{Deserialize, Serialize};

use crate::base::named_enum::named;

/// How a class that neither occurs nor was predicted enters a mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbsentClass {
    /// Counts as 0; the mean is over all classes.
    Zero,
    /// Left out of the mean.
    #[default]
    LeftOut,
}

/// A project whose way of scoring is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Convention {
    /// The Capstone's script: labels 1..=K, any other value is not labelled; an absent class scores 0.
    #[default]
    Capstone,
    /// CSAIL semantic-segmentation-pytorch, `utils.intersectionAndUnion` and `utils.accuracy`: as the Capstone, but pixels
    /// with a label above K take part, and whatever is predicted there is wrong.
    Csail,
    /// hszhao/semseg, `util.intersectionAndUnion`: labels 0..K, 255 not labelled; an absent class scores 0.
    Semseg,
    /// mmsegmentation, `IoUMetric`: labels 0..K, 255 not labelled; means over the classes that occur (`nanmean`).
    Mmseg,
    /// PaddleSeg, `paddleseg/utils/metrics.py`: labels 0..K, 255 not labelled; an absent class scores 0; pixel accuracy is
    /// over the pixels that were predicted as some class.
    Paddle,
    /// nnU-Net, `evaluate_predictions.py`: IoU and Dice of each image, averaged over the images in which the class
    /// occurs or was predicted; means without the background, and not a number if a class is in no image.
    Nnunet,
}

/// Label values that a convention reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelValues {
    /// Value of the first class; the others follow.
    pub first: u16,
    /// The value that means "not labelled".
    pub ignore: Option<u16>,
    /// What all other values are.
    pub others: OtherValues,
}

/// What label values are that nobody has said the meaning of. Where they are no error, they are wrong as predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherValues {
    /// An error.
    #[default]
    Error,
    /// Not labelled.
    Unlabelled,
    /// Labelled, as no class: whatever is predicted there is wrong.
    Wrong,
}

impl Convention {
    /// Label values, where no data set says otherwise.
    pub fn label_values(self) -> LabelValues {
        match self {
            Self::Capstone => LabelValues { first: 1, ignore: Some(0), others: OtherValues::Unlabelled },
            Self::Csail => LabelValues { first: 1, ignore: Some(0), others: OtherValues::Wrong },
            Self::Semseg | Self::Mmseg | Self::Paddle => {
                LabelValues { first: 0, ignore: Some(255), others: OtherValues::Error }
            }
            Self::Nnunet => LabelValues { first: 0, ignore: None, others: OtherValues::Error },
        }
    }

    /// How absent classes enter means.
    pub fn absent(self) -> AbsentClass {
        match self {
            Self::Capstone | Self::Csail | Self::Semseg | Self::Paddle => AbsentClass::Zero,
            Self::Mmseg | Self::Nnunet => AbsentClass::LeftOut,
        }
    }
}

named!(
    Convention,
    "convention",
    [
        ("capstone", Self::Capstone),
        ("csail", Self::Csail),
        ("semseg", Self::Semseg),
        ("mmseg", Self::Mmseg),
        ("paddle", Self::Paddle),
        ("nnunet", Self::Nnunet)
    ]
);
