//! Python objects that a pickle describes.

/// The number of an object.
pub(super) type Id = usize;

/// A Python object.
#[derive(Debug)]
pub(super) enum Node {
    /// `None`, numbers with a point, bytes and other values that weights are not made of.
    Other,
    Bool(bool),
    Int(i64),
    Text(String),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by module and name.
    Class(String),
    /// What a class or function was called with, and what was set on the result.
    Object(Object),
    /// What the file around the pickle knows by this object.
    Persistent(Id),
}

/// A call that is not carried out.
#[derive(Debug)]
pub(super) struct Object {
    /// What was called.
    pub(super) class: Id,
    /// With what.
    pub(super) arguments: Id,
    /// Attributes.
    pub(super) state: Option<Id>,
    /// Entries, where it is a dictionary.
    pub(super) entries: Vec<(Id, Id)>,
}

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    /// The object that was pickled.
    pub(super) root: Id,
}

impl Pickle {
    pub(super) fn new(nodes: Vec<Node>, root: Id) -> Self {
        Self { nodes, root }
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// All objects.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The items of a tuple, list or set.
    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dictionary, also of a class of its own.
    pub(super) fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.node(id) {
            Node::Dict(entries) => Some(entries),
            Node::Object(object) if !object.entries.is_empty() => Some(&object.entries),
            _ => None,
        }
    }

    /// A text, or a whole number as text.
    pub(super) fn key(&self, id: Id) -> Option<String> {
        match self.node(id) {
            Node::Text(text) => Some(text.clone()),
            Node::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A text.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A count or size.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The sizes in a tuple.
    pub(super) fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.sequence(id)?.iter().map(|item| self.size(*item)).collect()
    }

    /// Module and name of a class or function. The older format names a module's class in the file around the pickle, with
    /// its source.
    pub(super) fn class(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Class(name) => Some(name),
            Node::Persistent(around) => match *self.sequence(*around)? {
                [tag, class, ..] if self.text(tag) == Some("module") => match self.node(class) {
                    Node::Class(name) => Some(name),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// What a dictionary has under a text.
    pub(super) fn get(&self, id: Id, key: &str) -> Option<Id> {
        self.entries(id)?.iter().rev().find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| *value)
    }
}
