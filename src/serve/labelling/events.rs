//! What all who look on are told.

use serde::Serialize;

/// Something that changed, for every open page.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LabelEvent {
    /// The labels of an image.
    Labels {
        /// Index of the image.
        image: usize,
        /// Their revision now.
        revision: u64,
        /// Who changed them, as it calls itself.
        tab: String,
    },
    /// The classes.
    Classes {
        /// Their revision now.
        revision: u64,
    },
    /// How far a training is.
    Training(Progress),
    /// The held-out score of a model is known.
    Score {
        /// Number of the model.
        number: u64,
    },
    /// Some events were missed: what is shown is to be fetched once more.
    Behind,
    /// Nothing more follows.
    Closed,
}

impl LabelEvent {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Labels { .. } => "labels",
            Self::Classes { .. } => "classes",
            Self::Training(_) => "training",
            Self::Score { .. } => "score",
            Self::Behind => "behind",
            Self::Closed => "closed",
        }
    }
}

/// How far a training is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// What is being done.
    pub state: TrainingState,
    /// Parts of it that are done.
    pub done: usize,
    /// Parts that it has.
    pub total: usize,
    /// Number of the model that comes of it.
    pub number: u64,
    /// Seconds since it began.
    pub seconds: f64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What a training is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainingState {
    /// Computing features of labelled pixels.
    Features,
    /// Growing trees.
    Fitting,
    /// The model can be asked.
    Ready,
    /// There is no model.
    Failed,
}
