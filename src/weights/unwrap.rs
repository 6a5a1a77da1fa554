//! Which of a file's tensors are the weights: what their names have in common comes off, and what is beside them stays
//! behind.

use std::collections::{BTreeMap, BTreeSet};

use super::names::some;
use super::signs::{Known, known, may_begin};

/// What PyTorch puts into the names of modules that it compiles, checkpoints or shards.
const INSERTED: &[&str] = &["_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module."];

/// Which weights of a file are meant, where it holds several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// What the names of the wanted tensors begin with, such as `student.backbone`.
    pub prefix: Option<String>,
    /// The averaged weights instead of the last ones.
    pub averaged: bool,
}

/// Chosen weights.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unwrapped<T> {
    pub(super) tensors: BTreeMap<String, T>,
    /// What their names began with in the file.
    pub(super) prefix: String,
    /// First words of the names of all else, and how many tensors these have.
    pub(super) beside: BTreeMap<String, usize>,
    /// Where averaged weights lie that were not taken.
    pub(super) averaged: Vec<String>,
}

impl<T> Unwrapped<T> {
    /// All tensors, as they are called.
    pub(super) fn plain(tensors: BTreeMap<String, T>) -> Self {
        Self { tensors, prefix: String::new(), beside: BTreeMap::new(), averaged: Vec::new() }
    }

    /// What a name of the file becomes, if it is one of the chosen.
    pub(super) fn inside<'a>(&self, name: &'a str) -> Option<&'a str> {
        inside(name, &self.prefix)
    }
}

/// Whether names say that the weights are averaged over the steps of a training.
fn is_averaged(prefix: &str) -> bool {
    prefix
        .to_lowercase()
        .split(['.', '_'])
        .any(|word| word == "ema" || word == "swa" || word == "shadow" || word.starts_with("averag"))
}

/// Takes off the names of a file's tensors what `choice` says, or what makes them those of a network that is known.
///
/// # Errors
/// The choice fits nothing, or several networks are there and nothing says which is meant.
pub(super) fn unwrap<T>(tensors: BTreeMap<String, T>, choice: &Choice) -> Result<Unwrapped<T>, String> {
    let tensors = without_inserted(tensors);
    if let Some(prefix) = &choice.prefix {
        let inserted =
            INSERTED.iter().fold(format!("{}.", prefix.trim_end_matches('.')), |name, part| name.replace(part, ""));
        let prefix = inserted.trim_end_matches('.');
        let all = below(tensors.keys().map(String::as_str));
        if !tensors.keys().any(|name| inside(name, prefix).is_some()) {
            return Err(format!("no tensor's name begins with '{prefix}.'; names begin with {all}"));
        }
        return Ok(take(tensors, prefix, Vec::new()));
    }
    let candidates = candidates(&tensors);
    let (averaged, last): (Vec<String>, Vec<String>) = candidates.into_iter().partition(|prefix| is_averaged(prefix));
    let wanted = match (choice.averaged, averaged.is_empty(), last.is_empty()) {
        (true, true, _) => {
            return Err(format!(
                "holds no averaged weights under a name that says so (ema, swa, average); leave out `averaged`, or say where \
                 they are with `prefix`; names begin with {}",
                below(tensors.keys().map(String::as_str))
            ));
        }
        (true, false, _) | (false, false, true) => &averaged,
        (false, _, _) => &last,
    };
    match &wanted[..] {
        // Recognition says what the names are.
        [] => Ok(take(tensors, "", Vec::new())),
        [one] => {
            let left = if choice.averaged {
                Vec::new()
            } else {
                averaged.iter().filter(|other| *other != one).cloned().collect()
            };
            Ok(take(tensors, one, left))
        }
        several => Err(format!(
            "holds {} networks, under {}; say which with `prefix`, such as {}",
            several.len(),
            several.join(", "),
            several[0]
        )),
    }
}

/// First words of names.
fn below<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let words: BTreeSet<&str> = names.map(|name| name.split('.').next().unwrap_or(name)).collect();
    some(&words.into_iter().collect::<Vec<_>>())
}

/// Names without what PyTorch has put in, unless two would become one.
fn without_inserted<T>(tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let plain = |name: &str| INSERTED.iter().fold(name.to_owned(), |name, part| name.replace(part, ""));
    let renamed: BTreeSet<String> = tensors.keys().map(|name| plain(name)).collect();
    if renamed.len() == tensors.len() {
        tensors.into_iter().map(|(name, tensor)| (plain(&name), tensor)).collect()
    } else {
        tensors
    }
}

fn inside<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() { Some(name) } else { name.strip_prefix(prefix)?.strip_prefix('.') }
}

fn take<T>(tensors: BTreeMap<String, T>, prefix: &str, averaged: Vec<String>) -> Unwrapped<T> {
    let (mut taken, mut beside) = (BTreeMap::new(), BTreeMap::new());
    for (name, tensor) in tensors {
        match inside(&name, prefix) {
            Some(rest) => _ = taken.insert(rest.to_owned(), tensor),
            None => *beside.entry(other_word(&name, prefix)).or_default() += 1,
        }
    }
    Unwrapped { tensors: taken, prefix: prefix.into(), beside, averaged }
}

/// A name up to where it is another than `prefix`.
fn other_word(name: &str, prefix: &str) -> String {
    let common = name.split('.').zip(prefix.split('.')).take_while(|(a, b)| a == b).count();
    let words: Vec<&str> = name.split('.').take(common + 1).collect();
    words.join(".")
}

/// How many names are below a prefix.
fn count<T>(tensors: &BTreeMap<String, T>, prefix: &str) -> usize {
    let first = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    tensors.range(first..).take_while(|(name, _)| inside(name, prefix).is_some()).count()
}

/// Prefixes whose removal leaves the names of a network that is known; of one in the other the outer. Whole networks hide
/// encoders, and these parts of networks.
fn candidates<T>(tensors: &BTreeMap<String, T>) -> Vec<String> {
    let mut prefixes = BTreeSet::new();
    for name in tensors.keys() {
        let starts = std::iter::once(0).chain(name.match_indices('.').map(|(place, _)| place + 1));
        prefixes
            .extend(starts.filter(|start| may_begin(&name[*start..])).map(|start| name[..start].trim_end_matches('.')));
    }
    let mut found: Vec<(Known, &str)> = Vec::new();
    // In this order, the outer one comes before those in it.
    for prefix in prefixes {
        let around = |outer: &str| outer.is_empty() || inside(prefix, outer).is_some();
        // A backbone alone is no part of a network that it lacks.
        let alone = |outer: &str| count(tensors, outer) == count(tensors, prefix);
        if found.iter().any(|(known, outer)| around(outer) && !(*known == Known::Part && alone(outer))) {
            continue;
        }
        let dotted = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
        found.extend(known(tensors, &dotted).map(|known| (known, prefix)));
    }
    let best = found.iter().map(|(known, _)| *known).min();
    found.into_iter().filter(|(known, _)| Some(*known) == best).map(|(_, prefix)| prefix.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESNET: [&str; 3] = ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"];
    const UNET: [&str; 3] =
        ["encoder.layer1.0.conv1.weight", "decoder.blocks.0.conv1.0.weight", "segmentation_head.0.weight"];

    fn tensors(parts: &[(&str, &[&str])]) -> BTreeMap<String, ()> {
        parts.iter().flat_map(|(prefix, names)| names.iter().map(move |name| (format!("{prefix}{name}"), ()))).collect()
    }

    fn chosen(parts: &[(&str, &[&str])], averaged: bool) -> Result<Unwrapped<()>, String> {
        unwrap(tensors(parts), &Choice { prefix: None, averaged })
    }

    #[test]
    fn any_prefix_comes_off_that_leaves_a_known_network() {
        for (parts, prefix, beside) in [
            (&[("", &RESNET[..])][..], "", 0),
            (
                &[("state_dict.module.", &RESNET), ("", &["optimizer.state.0.exp_avg", "best_acc1"])],
                "state_dict.module",
                2,
            ),
            (&[("module._orig_mod.model.", &RESNET), ("", &["n_averaged"])], "module.model", 1),
            // PyTorch Lightning, with a network of any name and a loss that has weights.
            (
                &[("state_dict.unet.", &UNET), ("state_dict.loss.vgg.", &RESNET), ("", &["state_dict.mean"])],
                "state_dict.unet",
                4,
            ),
            (&[("0.", &UNET), ("1.", &["state.0"])], "0", 1),
            (&[("ema.", &UNET)], "ema", 0),
            // The encoder of a whole network is no candidate of its own.
            (&[("a.b.c.d.", &UNET), ("a.b.c.d.encoder.", &RESNET)], "a.b.c.d", 0),
            (&[("head.", &["weight"]), ("body.", &["weight"])], "", 0),
        ] {
            let found = chosen(parts, false).unwrap();
            assert_eq!((found.prefix.as_str(), found.beside.values().sum::<usize>()), (prefix, beside), "{parts:?}");
        }
    }

    #[test]
    fn averaged_weights_are_taken_when_asked_for() {
        let both = [("state_dict.", &UNET[..]), ("state_dict_ema.", &UNET), ("x.model_ema.module.", &UNET)];
        let found = chosen(&both, false).unwrap();
        assert_eq!((found.prefix.as_str(), found.averaged.len()), ("state_dict", 2));
        assert!(chosen(&both, true).unwrap_err().contains("2 networks, under state_dict_ema, x.model_ema.module"));
        assert_eq!(chosen(&both[..2], true).unwrap().prefix, "state_dict_ema");
        assert!(chosen(&both[..1], true).unwrap_err().contains("holds no averaged weights"));
    }

    #[test]
    fn of_several_networks_one_must_be_named() {
        let two = [("student.backbone.", &RESNET[..]), ("teacher.backbone.", &RESNET)];
        assert_refused!(chosen(&two, false), "holds 2 networks, under student.backbone, teacher.backbone");
        let named = |prefix: &str| unwrap(tensors(&two), &Choice { prefix: Some(prefix.into()), averaged: false });
        assert_eq!(named("teacher.backbone.").unwrap().beside, BTreeMap::from([("student".into(), 3)]));
        assert_eq!(named("teacher").unwrap().tensors.len(), 3);
        assert!(named("other").unwrap_err().contains("names begin with student, teacher"));
    }
}
