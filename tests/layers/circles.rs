//! Circles in a graph of files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::paths::Kind;
use crate::source::Use;

/// A description of each circle: its uses, each of one file by the next. Tests and `pub use` make none.
pub(crate) fn circles(uses: &[Use]) -> Vec<String> {
    let mut graph: BTreeMap<&Path, BTreeMap<&Path, &Use>> = BTreeMap::new();
    for one in uses.iter().filter(|one| one.kind == Kind::Code) {
        graph.entry(&one.from).or_default().entry(&one.to).or_insert(one);
    }
    let mut described = BTreeSet::new();
    let mut found = Vec::new();
    for &start in graph.keys() {
        if let Some(circle) = shortest_circle(&graph, start)
            && !circle.iter().any(|one| described.contains(&one.from))
        {
            described.extend(circle.iter().map(|one| &one.from));
            found.push(circle.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "));
        }
    }
    found
}

/// The shortest way from a file back to itself.
fn shortest_circle<'a>(
    graph: &BTreeMap<&'a Path, BTreeMap<&'a Path, &'a Use>>,
    start: &'a Path,
) -> Option<Vec<&'a Use>> {
    let mut came_by: BTreeMap<&Path, &Use> = BTreeMap::new();
    let mut next = vec![start];
    while !came_by.contains_key(start) && !next.is_empty() {
        let mut further = Vec::new();
        for (to, one) in next.iter().filter_map(|file| graph.get(file)).flatten() {
            if !came_by.contains_key(to) {
                came_by.insert(to, one);
                further.push(*to);
            }
        }
        next = further;
    }
    let mut circle = vec![*came_by.get(start)?];
    while circle[circle.len() - 1].from != start {
        let last: &Path = &circle[circle.len() - 1].from;
        circle.push(came_by[last]);
    }
    circle.reverse();
    Some(circle)
}
