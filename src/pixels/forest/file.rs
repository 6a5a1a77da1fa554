//! Forests in files.
//!
//! Little-endian, without gaps:
//!
//! ```text
//! 8 bytes  "segtrees"          u32  version, 1
//! u32      classes C           u32  features F          u32  trees T          u32  leaves L that are not pure
//! f64 * F  importances         f32 * L * C  distributions of those leaves
//! T times: u32 splits S, i32 root, S * (f32 threshold, u32 feature, i32 left, i32 right)
//! u32      CRC-32C of all bytes before it
//! ```
//!
//! A child is the number of a later split of its tree, or `-1 - leaf`; leaf `c < C` is pure, the others follow.

use std::io::{self, Write};

use crc32c::{crc32c, crc32c_append};

use super::{Forest, MAX_CLASSES, MAX_TREES, Node, Tree, lanes};

const MAGIC: [u8; 8] = *b"segtrees";
const VERSION: u32 = 1;

impl Forest {
    /// Writes the forest. The output is best buffered: a number is written at a time.
    ///
    /// # Errors
    /// What the output says.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let mut output = Checked { output, checksum: 0 };
        let lanes = lanes(self.classes);
        output.write_all(&MAGIC)?;
        let leaves = self.leaves.len() / lanes;
        for number in [VERSION as usize, self.classes, self.features(), self.trees.len(), leaves] {
            output.write_all(&(number as u32).to_le_bytes())?;
        }
        for importance in &self.importances {
            output.write_all(&importance.to_le_bytes())?;
        }
        for share in self.leaves.chunks_exact(lanes).flat_map(|leaf| &leaf[..self.classes]) {
            output.write_all(&share.to_le_bytes())?;
        }
        for tree in &self.trees {
            output.write_all(&(tree.nodes.len() as u32).to_le_bytes())?;
            output.write_all(&tree.root.to_le_bytes())?;
            for Node { threshold, feature, children: [left, right] } in &tree.nodes {
                let parts = [threshold.to_le_bytes(), feature.to_le_bytes(), left.to_le_bytes(), right.to_le_bytes()];
                output.write_all(parts.as_flattened())?;
            }
        }
        let checksum = output.checksum;
        output.write_all(&checksum.to_le_bytes())
    }

    /// Reads a forest that [`Self::write`] wrote. Nothing in the bytes is trusted: what is not a forest through and
    /// through is refused, before room is made for it.
    ///
    /// # Errors
    /// The reason, to be told with the name of the file.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut input = Input { bytes };
        if input.take(MAGIC.len()).is_err() || !bytes.starts_with(&MAGIC) {
            return Err("this is not a forest: it does not start with \"segtrees\"".into());
        }
        let version = input.u32()?;
        if version != VERSION {
            let age = if version > VERSION { "; a later version of the program wrote it" } else { "" };
            return Err(format!("the forest is in format {version}, but this program reads format {VERSION}{age}"));
        }
        let Some((body, checksum)) = input.bytes.split_last_chunk::<4>() else { return Err(ENDS_EARLY.into()) };
        if u32::from_le_bytes(*checksum) != crc32c(&bytes[..bytes.len() - checksum.len()]) {
            return Err("the forest is damaged: its checksum does not match".into());
        }
        input.bytes = body;
        let forest = input.forest()?;
        if input.bytes.is_empty() {
            Ok(forest)
        } else {
            Err("the forest is damaged: there is more data after its end".into())
        }
    }
}

const ENDS_EARLY: &str = "the forest ends early; the file was cut off";

/// What is left to be read.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// This many numbers of `N` bytes.
    fn numbers<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], String> {
        Ok(self.take(count.checked_mul(N).ok_or(ENDS_EARLY)?)?.as_chunks::<N>().0)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(self.numbers::<4>(1)?.first().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// A number that must be 1 to `most`.
    fn count(&mut self, name: &str, most: usize) -> Result<usize, String> {
        let count = self.u32()? as usize;
        if (1..=most).contains(&count) {
            Ok(count)
        } else {
            Err(format!("the forest is damaged: it has {count} {name}"))
        }
    }

    fn forest(&mut self) -> Result<Forest, String> {
        let classes = self.count("classes", MAX_CLASSES)?;
        let features = self.count("features", u32::MAX as usize)?;
        let trees = self.count("trees", MAX_TREES)?;
        let mixed = self.u32()? as usize;
        let importances: Vec<f64> = self.numbers(features)?.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        if let Some(wrong) = importances.iter().find(|importance| !(0.0..=1.001).contains(*importance)) {
            return Err(format!("the forest is damaged: the importance of a feature is {wrong}"));
        }
        let leaves = self.leaves(mixed, classes)?;
        let trees: Result<Vec<Tree>, String> =
            (0..trees).map(|number| self.tree(number, features, classes + mixed)).collect();
        Ok(Forest { classes, importances, trees: trees?, leaves })
    }

    fn leaves(&mut self, leaves: usize, classes: usize) -> Result<Vec<f32>, String> {
        let values = self.numbers::<4>(leaves.checked_mul(classes).ok_or(ENDS_EARLY)?)?;
        let mut all = Vec::with_capacity(leaves * lanes(classes));
        for leaf in values.chunks_exact(classes) {
            let start = all.len();
            all.extend(leaf.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            let sum: f32 = all[start..].iter().sum();
            if !all[start..].iter().all(|share| (0.0..=1.0).contains(share)) || (sum - 1.0).abs() > 1e-3 {
                return Err(format!("the forest is damaged: the probabilities of a leaf sum to {sum}"));
            }
            all.resize(start + lanes(classes), 0.0);
        }
        Ok(all)
    }

    /// A tree of a forest with these numbers of features and leaves.
    fn tree(&mut self, number: usize, features: usize, leaves: usize) -> Result<Tree, String> {
        let (splits, root) = (self.u32()? as usize, self.u32()? as i32);
        let nodes: Vec<Node> = self.numbers(splits)?.iter().map(node).collect();
        let fault = |what: String| Err(format!("the forest is damaged: tree {number} {what}"));
        // Splits are met once each, later than their parents: every way ends.
        let mut met = vec![false; splits];
        let mut meet = |parent: Option<usize>, child: i32| match usize::try_from(child) {
            Ok(split) => {
                let later = parent.is_none_or(|parent| split > parent);
                later && met.get_mut(split).is_some_and(|met| !std::mem::replace(met, true))
            }
            Err(_) => (!child as usize) < leaves,
        };
        if !meet(None, root) || splits > 0 && root != 0 {
            return fault(format!("starts at node {root}, which does not exist"));
        }
        for (place, node) in nodes.iter().enumerate() {
            if node.feature as usize >= features || !node.threshold.is_finite() {
                return fault(format!("compares feature {} with {}", node.feature, node.threshold));
            }
            if !node.children.iter().all(|&child| meet(Some(place), child)) {
                return fault(format!("leads from split {place} to {:?}", node.children));
            }
        }
        if met.contains(&false) { fault("has splits that nothing leads to".into()) } else { Ok(Tree { root, nodes }) }
    }
}

fn node(bytes: &[u8; 16]) -> Node {
    let part = |place: usize| bytes.as_chunks::<4>().0[place];
    Node {
        threshold: f32::from_le_bytes(part(0)),
        feature: u32::from_le_bytes(part(1)),
        children: [i32::from_le_bytes(part(2)), i32::from_le_bytes(part(3))],
    }
}

/// Writes on, and sums up what it writes.
struct Checked<'a, W> {
    output: &'a mut W,
    checksum: u32,
}

impl<W: Write> Checked<'_, W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum = crc32c_append(self.checksum, bytes);
        self.output.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::forest::{Features, Outcome, Settings, Watch, fit};
    use std::sync::atomic::AtomicBool;

    /// Two trees of three classes, with leaves of both kinds.
    fn small() -> Forest {
        let values: Vec<f32> = (0..120u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as f32).collect();
        let labels: Vec<u16> = (0..40).map(|i| (i * 7 % 3) as u16).collect();
        let settings = Settings { trees: 2, max_depth: Some(3), ..Settings::default() };
        let watch = Watch { progress: &|_| (), stop: &AtomicBool::new(false) };
        match fit(&Features::rows(&values, 3).unwrap(), &labels, 3, &settings, watch).unwrap() {
            Outcome::Finished(fitted) => fitted.forest,
            Outcome::Stopped => unreachable!("nobody stopped it"),
        }
    }

    fn bytes(forest: &Forest) -> Vec<u8> {
        let mut bytes = Vec::new();
        forest.write(&mut bytes).unwrap();
        bytes
    }

    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - 4;
        let checksum = crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn a_forest_reads_as_written() {
        let forest = small();
        assert!(!forest.leaves.is_empty());
        assert_eq!(Forest::read(&bytes(&forest)).unwrap(), forest);
    }

    #[test]
    fn cut_off_and_damaged_files_are_refused() {
        let bytes = bytes(&small());
        for length in 0..bytes.len() {
            assert!(Forest::read(&bytes[..length]).is_err(), "{length} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Forest::read(&damaged).is_err(), "bit {bit}");
        }
        let mut longer = bytes.clone();
        longer.extend([0; 9]);
        assert!(Forest::read(&longer).is_err());
    }

    #[test]
    fn forged_files_are_refused_or_work() {
        let bytes = bytes(&small());
        let values: Vec<f32> = (0..99).map(|i| (i * 31 % 97) as f32).collect();
        let mut refused = 0;
        let forged = (0..(bytes.len() - 4) * 8).map(|bit| {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            sealed(forged)
        });
        let cut = (20..bytes.len() - 4).map(|length| sealed(bytes[..length].to_vec()));
        for forged in forged.chain(cut) {
            match Forest::read(&forged) {
                Ok(forest) => {
                    if let Ok(features) = Features::rows(&values, forest.features()) {
                        forest.probabilities(&features).unwrap();
                    }
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > bytes.len() * 2, "{refused}");
    }

    #[test]
    fn the_reason_is_told() {
        let bytes = bytes(&small());
        let told = |place: usize, value: u32| {
            let mut changed = bytes.clone();
            changed[place..place + 4].copy_from_slice(&value.to_le_bytes());
            Forest::read(&sealed(changed)).unwrap_err()
        };
        assert!(told(0, 0).contains("not a forest"));
        assert!(told(8, 2).contains("format 2, but this program reads format 1; a later version"));
        assert!(told(12, 0).contains("0 classes"));
        assert!(told(16, u32::MAX).contains("ends early"));
        assert!(told(20, 70_000).contains("70000 trees"));
        assert!(told(24, u32::MAX).contains("ends early"));
    }
}
