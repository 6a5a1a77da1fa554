//! Dry runs: what a network's program makes and holds, found by running it on a batch of no pictures.
//!
//! Tensors of a batch of no pictures have all their other sides and no numbers, so that burn's own operations cost
//! nothing. In a dry run, the kernels of flex compute nothing either: they make tensors of the right shape, and for the
//! gradients of parameters such as hold one number in place of all. This module counts the bytes that those tensors would
//! hold, for as long as the program holds them.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use burn::backend::Bytes;
use burn::module::ParamId;
use burn::tensor::{Shape, Tensor};

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Bytes that are held at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Whatever the batch is.
    pub fixed: u64,
    /// For every picture of the batch.
    pub per_picture: u64,
}

impl Held {
    /// What a tensor of `shape` holds, with `size` bytes an element. A tensor of no pictures stands for a batch of any.
    fn of(shape: &Shape, size: u64) -> Self {
        let bytes = |sides: &[usize]| sides.iter().fold(size, |bytes, &side| bytes.saturating_mul(side as u64));
        match shape.as_slice() {
            [0, picture @ ..] => Self { fixed: 0, per_picture: bytes(picture) },
            sides => Self { fixed: bytes(sides), per_picture: 0 },
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.saturating_add(other.fixed),
            per_picture: self.per_picture.saturating_add(other.per_picture),
        }
    }

    /// Whether this is as much as `other` for a batch of any size.
    fn covers(self, other: Self) -> bool {
        self.fixed >= other.fixed && self.per_picture >= other.per_picture
    }
}

/// A layer with weights, as it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerRun {
    /// Identity of its weight.
    pub weight: ParamId,
    /// What it is, in PyTorch's words.
    pub kind: &'static str,
    /// Shape of its output, of a batch of no pictures.
    pub output: [usize; 4],
    /// Multiplications, each with an addition, for one picture.
    pub multiply_adds: u64,
}

/// What a dry run found.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The times at which most is held: for a batch of any size, one of these is the worst.
    pub peaks: Vec<Held>,
    /// The layers with weights in the order in which they ran.
    pub layers: Vec<LayerRun>,
}

#[derive(Debug, Default)]
struct Run {
    record: Record,
    alive: Vec<(Weak<Bytes>, Held)>,
    /// What an operation of burn's read, until its result is counted.
    inputs: Vec<Tensor<4>>,
}

/// Runs `work` dry on this thread, on flex. Results of operations in it hold no numbers.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Record) {
    /// Ends the dry run, also if `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            let run = RUN.with(RefCell::take);
            drop(run);
        }
    }
    RUN.set(Some(Run::default()));
    let end = End;
    let result = work();
    let record = RUN.with(|run| run.borrow_mut().as_mut().map(|run| std::mem::take(&mut run.record)));
    drop(end);
    (result, record.unwrap_or_default())
}

/// Whether this thread runs dry.
pub(super) fn is_on() -> bool {
    RUN.with(|run| run.borrow().is_some())
}

/// Counts what `storage` would hold, unless it is counted already: a tensor of `shape` with `size` bytes an element.
pub(super) fn count(storage: &Arc<Bytes>, shape: &Shape, size: u64) {
    let inputs = RUN.with(|run| run.borrow_mut().as_mut().map(|run| run.count(storage, Held::of(shape, size))));
    drop(inputs); // may run code of burn's
}

/// Counts bytes that are needed for a moment only.
pub(super) fn count_for_a_moment(fixed: u64) {
    RUN.with(|run| run.borrow_mut().iter_mut().for_each(|run| run.peak(Held { fixed, per_picture: 0 })));
}

/// Keeps the inputs of an operation of burn's until its result is counted.
pub(super) fn keep(inputs: &[Tensor<4>]) {
    RUN.with(|run| run.borrow_mut().iter_mut().for_each(|run| run.inputs.extend_from_slice(inputs)));
}

/// Notes that a layer ran.
pub(crate) fn layer(weight: ParamId, kind: &'static str, output: &Tensor<4>, multiply_adds: impl FnOnce() -> u64) {
    RUN.with(|run| {
        if let Some(run) = run.borrow_mut().as_mut() {
            let multiply_adds = multiply_adds();
            run.record.layers.push(LayerRun { weight, kind, output: output.dims(), multiply_adds });
        }
    });
}

impl Run {
    /// Returns inputs that need to be kept no longer.
    fn count(&mut self, storage: &Arc<Bytes>, held: Held) -> Vec<Tensor<4>> {
        if self.alive.iter().any(|(known, _)| known.as_ptr() == Arc::as_ptr(storage)) {
            return Vec::new();
        }
        self.alive.push((Arc::downgrade(storage), held));
        self.peak(Held::default());
        std::mem::take(&mut self.inputs)
    }

    /// Notes what is held now, and `more`.
    fn peak(&mut self, more: Held) {
        self.alive.retain(|(storage, _)| storage.strong_count() > 0);
        let now = self.alive.iter().fold(more, |sum, (_, held)| sum.and(*held));
        let peaks = &mut self.record.peaks;
        if !peaks.iter().any(|peak| peak.covers(now)) {
            peaks.retain(|peak| !now.covers(*peak));
            peaks.push(now);
        }
    }
}
