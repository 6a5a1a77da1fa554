//! A random forest that classifies pixels by their features (Breiman 2001, doi:10.1023/A:1010933404324), with the
//! settings and the meaning of scikit-learn's `RandomForestClassifier`.

mod bins;
mod descend;
mod draw;
mod features;
mod file;
mod fit;
mod grow;
mod out_of_bag;
mod predict;
mod settings;
mod split;

pub use features::Features;
pub use fit::{Fitted, Outcome, Watch, fit};
pub use out_of_bag::OutOfBag;
pub use settings::{ClassWeights, FeaturesPerSplit, Settings};

/// A fitted forest.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    classes: usize,
    /// One a feature; their sum is 1, or 0 where no tree has a split.
    importances: Vec<f64>,
    trees: Vec<Tree>,
    /// Distributions of the leaves that are not pure: `[leaves, lanes]`.
    leaves: Vec<f32>,
}

/// One tree.
#[derive(Debug, Clone, PartialEq)]
struct Tree {
    /// What a sample meets first; see [`Node::children`].
    root: i32,
    nodes: Vec<Node>,
}

/// A split. Leaves are no nodes: they are named by their parents, so that a tree takes 16 bytes a split in all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Node {
    /// Samples whose feature is at most this go left.
    threshold: f32,
    feature: u32,
    /// Left and right: the place of a node, which is greater than this one's, or `!leaf`, which is
    /// negative. Leaf `c` below the number of classes is pure, all of class `c`; the others follow.
    children: [i32; 2],
}

/// Most classes, as in a confusion matrix.
const MAX_CLASSES: usize = 4096;

/// Most trees.
const MAX_TREES: usize = u16::MAX as usize;

/// Distributions are filled up with zeros to a multiple of this.
const LANES: usize = 4;

/// Numbers a distribution takes.
fn lanes(classes: usize) -> usize {
    classes.next_multiple_of(LANES)
}

impl Forest {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of features a sample.
    pub fn features(&self) -> usize {
        self.importances.len()
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Number of splits in all trees; a tree has one leaf more than splits.
    pub fn splits(&self) -> usize {
        self.trees.iter().map(|tree| tree.nodes.len()).sum()
    }

    /// Mean decrease of the impurity by the splits of every feature, with the sum 1; all 0 if there is no split
    /// (Breiman et al. 1984; scikit-learn's `feature_importances_`).
    pub fn importances(&self) -> &[f64] {
        &self.importances
    }
}
