//! Dry runs: what a network's program makes and holds, found by running it on a batch of no images.
//!
//! Tensors of a batch of no images have all their other sides and no numbers, so that burn's own operations cost
//! nothing. In a dry run, the kernels of flex compute nothing either: they make tensors of the right shape, and for the
//! gradients of parameters such as hold one number in place of all. This module notes the bytes that those tensors would
//! take, and when the program lets go of them.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use burn::backend::Bytes;
use burn::module::ParamId;
use burn::tensor::{Shape, Tensor};

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Bytes that a tensor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Whatever the batch is.
    Fixed(u64),
    /// For every image of the batch.
    PerImage(u64),
}

impl Need {
    /// What a tensor of `shape` takes, with `size` bytes an element. A tensor of no images stands for a batch of any.
    fn of(shape: &Shape, size: u64) -> Self {
        let bytes = |sides: &[usize]| sides.iter().fold(size, |bytes, &side| bytes.saturating_mul(side as u64));
        match shape.as_slice() {
            [0, image @ ..] => Self::PerImage(bytes(image)),
            sides => Self::Fixed(bytes(sides)),
        }
    }
}

/// What happens to memory. Tensors are numbered from 0 in the order in which they take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The next tensor takes this.
    Take(Need),
    /// The tensor of that number gives back what it took.
    GiveBack(usize),
}

/// A layer with weights, as it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerRun {
    /// Identity of its weight.
    pub weight: ParamId,
    /// What it is, in PyTorch's words.
    pub kind: &'static str,
    /// Shape of its output, of a batch of no images.
    pub output: [usize; 4],
    /// Multiplications, each with an addition, for one image.
    pub multiply_adds: u64,
}

/// What a dry run found.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// What happened to memory, in order; what was not given back was held until the end. Parameters are not in it.
    pub events: Vec<Event>,
    /// The layers with weights in the order in which they ran.
    pub layers: Vec<LayerRun>,
}

#[derive(Debug, Default)]
struct Run {
    record: Record,
    /// How many tensors took memory.
    taken: usize,
    /// The tensors that hold memory, with their numbers.
    alive: Vec<(usize, Weak<Bytes>)>,
}

/// Runs `work` dry on this thread, on flex. Results of operations in it hold no numbers.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Record) {
    /// Ends the dry run, also if `work` panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            RUN.set(None);
        }
    }
    RUN.set(Some(Run::default()));
    let _end = End;
    let result = work();
    let record = RUN.with_borrow_mut(|run| run.as_mut().map(|run| std::mem::take(&mut run.record)));
    (result, record.unwrap_or_default())
}

/// Whether this thread runs dry.
pub(crate) fn is_on() -> bool {
    RUN.with_borrow(Option::is_some)
}

/// Notes that `storage` takes memory, unless that is known: a tensor of `shape` with `size` bytes an element.
pub(super) fn count(storage: &Arc<Bytes>, shape: &Shape, size: u64) {
    RUN.with_borrow_mut(|run| run.iter_mut().for_each(|run| run.count(storage, Need::of(shape, size))));
}

/// Notes that a kernel takes `bytes` for itself, whatever the batch.
pub(super) fn count_for_a_moment(bytes: u64) {
    RUN.with_borrow_mut(|run| {
        run.iter_mut().for_each(|run| {
            let number = run.take(Need::Fixed(bytes));
            run.record.events.push(Event::GiveBack(number));
        });
    });
}

/// Notes that a layer ran.
pub(crate) fn layer(weight: ParamId, kind: &'static str, output: &Tensor<4>, multiply_adds: impl FnOnce() -> u64) {
    if is_on() {
        let layer = LayerRun { weight, kind, output: output.dims(), multiply_adds: multiply_adds() };
        RUN.with_borrow_mut(|run| run.iter_mut().for_each(|run| run.record.layers.push(layer)));
    }
}

impl Run {
    fn count(&mut self, storage: &Arc<Bytes>, need: Need) {
        // A storage that is gone may have had the same address.
        let same = |known: &Weak<Bytes>| known.strong_count() > 0 && known.as_ptr() == Arc::as_ptr(storage);
        if !self.alive.iter().any(|(_, known)| same(known)) {
            let number = self.take(need);
            self.alive.push((number, Arc::downgrade(storage)));
        }
    }

    fn take(&mut self, need: Need) -> usize {
        let events = &mut self.record.events;
        self.alive.retain(|(number, storage)| {
            let alive = storage.strong_count() > 0;
            events.extend((!alive).then_some(Event::GiveBack(*number)));
            alive
        });
        events.push(Event::Take(need));
        self.taken += 1;
        self.taken - 1
    }
}
