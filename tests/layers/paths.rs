//! The paths in the text of a file.

use syn::visit::{self, Visit};
use syn::{Attribute, File, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility};

use crate::source::Module;

/// How a path is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the code of the library or the program.
    Code,
    /// In code of tests alone.
    Test,
    /// `pub use`: the name stands in another place, too.
    HandedOn,
}

/// A path, and where it stands.
#[derive(Debug)]
pub(crate) struct Found {
    /// The module that it stands in.
    pub(crate) module: Module,
    pub(crate) path: Vec<String>,
    /// What it is called in its module.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What the text of a file says.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) found: Vec<Found>,
    /// Modules in files of their own, and whether only tests have them.
    pub(crate) declared: Vec<(Module, bool)>,
    /// Modules within the file.
    pub(crate) inner: Vec<Module>,
}

/// Reads the text of a module's file.
pub(crate) fn read(text: &str, module: &Module, test: bool) -> syn::Result<Text> {
    let file: File = syn::parse_file(text)?;
    let mut reader = Reader { module: module.clone(), test, text: Text::default() };
    reader.visit_file(&file);
    Ok(reader.text)
}

/// Whether an item is there for tests alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

struct Reader {
    module: Module,
    test: bool,
    text: Text,
}

impl Reader {
    fn add(&mut self, path: Vec<String>, name: String, kind: Kind) {
        let kind = if self.test { Kind::Test } else { kind };
        self.text.found.push(Found { module: self.module.clone(), path, name, kind });
    }

    /// Reads something that may be for tests alone.
    fn read(&mut self, attributes: &[Attribute], read: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test |= is_for_tests(attributes);
        read(self);
        self.test = before;
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree, kind: Kind) {
        match tree {
            UseTree::Path(path) => {
                self.add_tree(&[before, &[path.ident.to_string()]].concat(), &path.tree, kind);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.add_tree(before, item, kind)),
            UseTree::Glob(_) => {
                assert!(kind != Kind::HandedOn, "pub use {}::*: name what is handed on", before.join("::"));
                self.add(before.to_vec(), String::new(), kind);
            }
            UseTree::Name(name) if name.ident == "self" => {
                self.add(before.to_vec(), before.last().cloned().unwrap_or_default(), kind);
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.add([before, std::slice::from_ref(&name)].concat(), name, kind);
            }
            UseTree::Rename(rename) => {
                let path = [before, &[rename.ident.to_string()]].concat();
                self.add(path, rename.rename.to_string(), kind);
            }
        }
    }

    /// A path in the midst of code. Where it does not say where it begins, it is of another crate, of a name that `use`
    /// has brought in, or calls a module that this one declares: a folder may hand work to its own files like that.
    fn add_path(&mut self, path: Vec<String>) {
        if path.len() > 1 && matches!(path[0].as_str(), "crate" | "super" | "self") {
            self.add(path, String::new(), Kind::Code);
        }
    }

    /// Paths in what only a macro understands.
    fn add_tokens(&mut self, tokens: &str) {
        // As it is printed, every token stands alone, but for what a bracket or a comma touches.
        let text = tokens.replace(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'), " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut rest = &words[..];
        while let Some((first, others)) = rest.split_first() {
            let mut path = vec![(*first).to_owned()];
            rest = others;
            while let [":" | "::", name, others @ ..] = rest {
                path.push((*name).to_owned());
                rest = others;
            }
            self.add_path(path);
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        self.read(attributes, |reader| visit::visit_item(reader, item));
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            _ => &[],
        };
        self.read(attributes, |reader| visit::visit_impl_item(reader, item));
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        self.module.push(item.ident.to_string());
        if item.content.is_some() {
            self.text.inner.push(self.module.clone());
            visit::visit_item_mod(self, item);
        } else {
            self.text.declared.push((self.module.clone(), self.test));
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let kind = if matches!(item.vis, Visibility::Inherited) { Kind::Code } else { Kind::HandedOn };
        self.add_tree(&[], &item.tree, kind);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(words);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'a Macro) {
        self.visit_path(&item.path);
        self.add_tokens(&item.tokens.to_string());
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.add_tokens(&list.tokens.to_string());
        }
    }

    // `pub(super)` is no use of the module above.
    fn visit_visibility(&mut self, _: &'a Visibility) {}
}
