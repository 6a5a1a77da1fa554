//! Scores from one integer confusion matrix. Knows no tensor.

mod baseline;
mod boundary;
mod cases;
mod confusion;
mod convention;
mod evaluation;
mod scores;
mod tally;

pub use baseline::Baseline;
pub use boundary::{BoundaryCounts, BoundaryWidth, add_boundaries};
pub use cases::{CaseSums, Sum};
pub use confusion::{Areas, Codes, ConfusionMatrix};
pub use convention::{AbsentClass, Convention, LabelValues, OtherValues};
pub use evaluation::Evaluation;
pub use scores::{ClassScores, Scores};
pub use tally::{Boundary, Tally};
