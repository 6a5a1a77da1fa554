//! Scores from one integer confusion matrix. Knows no tensor.

mod confusion;
mod scores;

pub use confusion::ConfusionMatrix;
pub use scores::{AbsentClass, ClassScores, Scores};
