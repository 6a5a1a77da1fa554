//! From what was pickled to named tensors: state dicts however nested, and the parameters and buffers of whole modules.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::tensor::Dtype;

use super::object::{Id, Node, Object, Pickle};
use super::storage::{Strided, TYPES, width};

/// Deepest nesting that is followed; modules have 4 or 5 levels for each of theirs.
const DEEPEST: usize = 200;
/// Most objects that are looked at, each as often as it is mentioned.
const MOST: usize = 4_000_000;
/// Most sides of a tensor.
const MOST_SIDES: usize = 64;

/// What a pickle holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Tensors by their names: the keys on the way to them, with points between.
    pub(super) tensors: BTreeMap<String, Strided>,
    /// Tensors that no numbers here can stand for, and what they are.
    pub(super) odd: BTreeMap<String, String>,
    /// Classes of modules that were pickled whole, by where they are.
    pub(super) modules: BTreeMap<String, String>,
    /// What the modules of smp's decoders say of enlargement.
    pub(super) interpolation_modes: BTreeSet<String>,
    /// Classes of other objects.
    pub(super) classes: BTreeSet<String>,
}

/// All tensors of a pickle.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn find(pickle: &Pickle) -> Result<Found, String> {
    let mut walker = Walker { pickle, found: Found::default(), way: Vec::new(), left: MOST };
    walker.visit(pickle.root, "")?;
    Ok(walker.found)
}

struct Walker<'a> {
    pickle: &'a Pickle,
    found: Found,
    /// The objects around the one that is looked at.
    way: Vec<Id>,
    left: usize,
}

/// Tables of a `torch.nn.Module`.
const TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

fn joined(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") }
}

impl Walker<'_> {
    fn visit(&mut self, id: Id, name: &str) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or("the pickle mentions its objects too often")?;
        // What contains itself is looked at once.
        if self.way.contains(&id) {
            return Ok(());
        }
        if self.way.len() >= DEEPEST {
            return Err(format!("the pickle is nested more than {DEEPEST} levels deep"));
        }
        self.way.push(id);
        match self.pickle.node(id) {
            Node::Dict(entries) => self.entries(entries, name)?,
            Node::Sequence(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.visit(*item, &joined(name, &i.to_string()))?;
                }
            }
            Node::Object(object) => self.object(object, name)?,
            _ => {}
        }
        self.way.pop();
        Ok(())
    }

    fn entries(&mut self, entries: &[(Id, Id)], name: &str) -> Result<(), String> {
        for (key, value) in entries {
            if let Some(key) = self.pickle.key(*key) {
                self.visit(*value, &joined(name, &key))?;
            }
        }
        Ok(())
    }

    fn object(&mut self, object: &Object, name: &str) -> Result<(), String> {
        let pickle = self.pickle;
        let class = pickle.class(object.class).unwrap_or_default();
        match tensor(pickle, object.class, object.arguments) {
            Some(Ok(tensor)) => _ = self.found.tensors.insert(name.to_owned(), tensor),
            Some(Err(what)) => _ = self.found.odd.insert(name.to_owned(), what),
            None if object.state.is_some_and(|state| is_module(pickle, state)) => {
                self.found.modules.insert(name.to_owned(), class.to_owned());
                self.module(object.state.unwrap_or_default(), name)?;
            }
            None => {
                self.found.classes.insert(class.to_owned());
                self.entries(&object.entries, name)?;
                self.visit(object.arguments, name)?;
                if let Some(state) = object.state {
                    self.visit(state, name)?;
                }
            }
        }
        Ok(())
    }

    /// Parameters and buffers under the names that `state_dict()` gives them.
    fn module(&mut self, state: Id, name: &str) -> Result<(), String> {
        let pickle = self.pickle;
        if let Some(mode) = pickle.get(state, "interpolation_mode").and_then(|id| pickle.text(id)) {
            self.found.interpolation_modes.insert(mode.to_owned());
        }
        let passing = pickle.get(state, "_non_persistent_buffers_set").and_then(|id| pickle.sequence(id));
        let passing: BTreeSet<&str> = passing.unwrap_or_default().iter().filter_map(|id| pickle.text(*id)).collect();
        for table in TABLES {
            let entries = pickle.get(state, table).and_then(|id| pickle.entries(id)).unwrap_or_default();
            let kept = |key: Id| table != "_buffers" || pickle.text(key).is_none_or(|key| !passing.contains(key));
            let entries: Vec<(Id, Id)> = entries.iter().copied().filter(|(key, _)| kept(*key)).collect();
            self.entries(&entries, name)?;
        }
        Ok(())
    }
}

fn is_module(pickle: &Pickle, state: Id) -> bool {
    TABLES.iter().all(|table| {
        pickle.get(state, table).is_some_and(|id| matches!(pickle.node(id), Node::Dict(_) | Node::Object(_)))
    })
}

/// What a call of `class` makes, if that is a tensor; an error says what kind of tensor it is that cannot be read.
fn tensor(pickle: &Pickle, class: Id, arguments: Id) -> Option<Result<Strided, String>> {
    let name = pickle.class(class)?;
    let arguments = pickle.sequence(arguments)?;
    let inner = |id: Id| match pickle.node(id) {
        Node::Object(object) => tensor(pickle, object.class, object.arguments),
        _ => None,
    };
    match name {
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => Some(strided(pickle, arguments, None)),
        "torch._utils._rebuild_tensor_v3" => {
            let dtype = arguments.get(6).and_then(|id| pickle.class(*id)).unwrap_or("no type");
            Some(named_type(dtype).and_then(|dtype| strided(pickle, arguments, Some(dtype))))
        }
        "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => inner(*arguments.first()?),
        // A subclass of tensors: a function and what it is to be called with.
        "torch._tensor._rebuild_from_type_v2" => tensor(pickle, *arguments.first()?, *arguments.get(2)?),
        other => {
            let kind = other.strip_prefix("torch._utils._rebuild_")?;
            Some(Err(format!("a tensor of PyTorch's kind '{kind}'")))
        }
    }
}

/// Storage, offset, shape and strides, in this order.
fn strided(pickle: &Pickle, arguments: &[Id], dtype: Option<Dtype>) -> Result<Strided, String> {
    let damaged = || "a tensor that is described wrongly".to_owned();
    let [storage, offset, shape, strides, ..] = *arguments else { return Err(damaged()) };
    let Node::Persistent(storage) = *pickle.node(storage) else { return Err(damaged()) };
    let Storage { key, dtype: stored, elements, skipped } = storage_of(pickle, storage)?;
    let dtype = dtype.or(stored).ok_or_else(damaged)?;
    let (shape, strides) =
        pickle.sizes(shape).zip(pickle.sizes(strides)).filter(|(a, b)| a.len() == b.len()).ok_or_else(damaged)?;
    let offset = pickle.size(offset).and_then(|offset| offset.checked_add(skipped)).ok_or_else(damaged)?;
    let found = Strided { key, dtype, offset, shape, strides };
    // Without a type of its own, a storage counts bytes.
    let elements = if stored.is_some() { elements } else { elements / width(dtype) };
    let fits = found.reach().is_some_and(|reach| reach <= elements) && found.byte_len().is_some();
    if fits && found.shape().len() <= MOST_SIDES { Ok(found) } else { Err(damaged()) }
}

/// What a pickle says of a storage.
pub(super) struct Storage {
    pub(super) key: String,
    /// Type of its elements; `None` if it counts bytes.
    pub(super) dtype: Option<Dtype>,
    /// How many.
    pub(super) elements: usize,
    /// Elements before the part of it that is meant.
    skipped: usize,
}

/// The storage that `('storage', type, key, place, elements, part)` stands for.
pub(super) fn storage_of(pickle: &Pickle, id: Id) -> Result<Storage, String> {
    let damaged = || "a tensor whose storage is described wrongly".to_owned();
    let fields = pickle.sequence(id).ok_or_else(damaged)?;
    let [tag, class, key, _place, elements, part @ ..] = fields else { return Err(damaged()) };
    if pickle.text(*tag) != Some("storage") {
        return Err(damaged());
    }
    let class = pickle.class(*class).or_else(|| pickle.text(*class)).ok_or_else(damaged)?;
    let part = part.first().and_then(|id| pickle.sequence(*id)).and_then(|part| part.get(1).copied());
    Ok(Storage {
        key: pickle.key(*key).ok_or_else(damaged)?,
        dtype: storage_type(class)?,
        elements: pickle.size(*elements).ok_or_else(damaged)?,
        skipped: part.map_or(Some(0), |offset| pickle.size(offset)).ok_or_else(damaged)?,
    })
}

/// Element type of a class of storages; `None` if it counts bytes.
fn storage_type(class: &str) -> Result<Option<Dtype>, String> {
    match class.rsplit('.').next().unwrap_or(class) {
        "UntypedStorage" => Ok(None),
        class => type_where(class, |(_, _, stored)| *stored == Some(class)).map(Some),
    }
}

/// The element type that PyTorch calls so.
fn named_type(name: &str) -> Result<Dtype, String> {
    type_where(name, |(_, named, _)| *named == name)
}

fn type_where(name: &str, is_it: impl Fn(&&(Dtype, &str, Option<&str>)) -> bool) -> Result<Dtype, String> {
    TYPES.iter().find(is_it).map(|(dtype, ..)| *dtype).ok_or_else(|| format!("a tensor of type {name}"))
}
