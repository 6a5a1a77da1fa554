//! Names and colours of classes from the files that other tools leave beside label images.
//!
//! | file | content |
//! | --- | --- |
//! | `classes.txt`, `labels.txt`, `obj.names`, ... | a name a line; or `3 name`, `3: name`, `name: 3`, `r g b name`, `name r g b` |
//! | `labelmap.txt` (CVAT) | `name:r,g,b:parts:actions` |
//! | `_classes.csv` (Roboflow), `class_dict.csv` (Kaggle), `info.csv` (ADE20K), ... | a table whose first row names its columns |

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::files::read_text;
use crate::base::{Error, Result};
use crate::data::class_lookup::means_unlabelled;

/// Files that are looked for, the first that is there counts.
const USUAL: [&str; 15] = [
    "labelmap.txt",
    "class_dict.csv",
    "_classes.csv",
    "classes.csv",
    "classes.txt",
    "class_names.txt",
    "label_names.txt",
    "label_colors.txt",
    "labels.csv",
    "labels.txt",
    "names.txt",
    "obj.names",
    "info.csv",
    "object150_info.csv",
    "objectinfo150.txt",
];
/// Endings that tell a list of files from one of names.
const FILES: [&str; 7] = [".png", ".tif", ".tiff", ".bmp", ".npy", ".jpg", ".jpeg"];

const NAME_COLUMNS: [&str; 6] = ["name", "class name", "class", "label", "label name", "category"];
const VALUE_COLUMNS: [&str; 10] =
    ["pixel value", "value", "idx", "index", "id", "label", "label value", "class id", "class", "class index"];

/// One class of a names file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedClass {
    /// Its name.
    pub name: String,
    /// Its label value, where the file tells it.
    pub value: Option<u16>,
    /// Its colour, where the file tells it.
    pub color: Option<[u8; 3]>,
}

impl NamedClass {
    fn new(name: &str, value: Option<u16>, color: Option<[u8; 3]>) -> Self {
        // ADE20K lists synonyms; labelme marks its background so.
        let first = name.split(';').next().unwrap_or(name);
        let first = first.trim();
        let name = first.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(first).trim();
        let name = if name == "_background_" { "background" } else { name };
        Self { name: name.to_owned(), value, color }
    }

    /// Whether the name says that its pixels have no label.
    pub fn means_no_label(&self) -> bool {
        means_unlabelled(&self.name)
    }
}

/// The classes of a names file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassNames {
    /// The file.
    pub path: PathBuf,
    /// The classes.
    pub classes: Vec<NamedClass>,
}

impl ClassNames {
    /// Reads a file of any of the forms.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        let classes = table(&text).or_else(|| lines(&text)).unwrap_or_default();
        if classes.is_empty() || classes.iter().any(|class| class.name.is_empty()) {
            let reason = "holds no class names; it needs one per line, or a table whose first row names its columns, such as name,r,g,b";
            return Err(Error::content(path, reason));
        }
        let mut values: Vec<u16> = classes.iter().filter_map(|class| class.value).collect();
        values.sort_unstable();
        if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::content(path, format!("gives value {} to two classes", pair[0])));
        }
        Ok(Self { path: path.into(), classes })
    }

    /// The file of one of the usual names that lies beside label images, in their folder or in the one above.
    pub fn beside(labels: &[PathBuf]) -> Option<PathBuf> {
        let first = labels.first()?;
        let folder = if first.is_dir() { Some(first.as_path()) } else { first.parent() }?;
        // `masks` has no parent to look at by its text alone.
        let folder = std::path::absolute(folder).ok()?;
        [Some(folder.as_path()), folder.parent()].into_iter().flatten().find_map(|folder| {
            let there: Vec<PathBuf> = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
            USUAL.iter().find_map(|name| {
                let wanted = |path: &&PathBuf| {
                    let given =
                        labels.iter().any(|label| std::path::absolute(label).is_ok_and(|label| label == **path));
                    path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name)) && !given && path.is_file()
                };
                there.iter().filter(wanted).min().cloned()
            })
        })
    }

    /// Whether every class has its label value.
    pub fn has_values(&self) -> bool {
        self.classes.iter().all(|class| class.value.is_some())
    }

    /// The classes with their label values. Where the file tells none, they are told from the values of the label images,
    /// which are in ascending order.
    pub fn with_values(&self, found: &[u16]) -> Result<Vec<(u16, &NamedClass)>, String> {
        let classes = self.classes.iter();
        if self.has_values() {
            return Ok(classes.filter_map(|class| Some((class.value?, class))).collect());
        }
        let count = self.classes.len();
        let Some(&largest) = found.last() else { return Ok(Vec::new()) };
        let from_zero = usize::from(largest) < count;
        let foreground = found.strip_prefix(&[0]).unwrap_or(found);
        let values: Vec<u16> = match usize::from(largest) {
            _ if from_zero => (0..=u16::MAX).take(count).collect(),
            _ if found.len() == count => found.to_vec(),
            _ if foreground.len() == count => foreground.to_vec(),
            largest if largest == count => (1..=u16::MAX).take(count).collect(),
            _ => {
                return Err(format!(
                    "names {count} classes, but the label images hold {} values up to {largest}, and it does not say which is \
                     which; add a column of label values",
                    found.len()
                ));
            }
        };
        Ok(values.into_iter().zip(classes).collect())
    }
}

/// A table whose first row names its columns; `None` if it does not.
fn table(text: &str) -> Option<Vec<NamedClass>> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let delimiter = *b"\t;,".iter().find(|&&delimiter| first.contains(char::from(delimiter)))?;
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns: Vec<String> = reader.headers().ok()?.iter().map(|c| c.to_lowercase().replace('_', " ")).collect();
    let column = |names: &[&str]| names.iter().find_map(|name| columns.iter().position(|c| c.trim() == *name));
    let name = column(&NAME_COLUMNS)?;
    let other = |names: &[&str]| {
        names.iter().find_map(|name_| columns.iter().enumerate().position(|(i, c)| i != name && c == name_))
    };
    let value = other(&VALUE_COLUMNS);
    let channels = [column(&["r", "red"]), column(&["g", "green"]), column(&["b", "blue"])];
    let color = column(&["color", "colour", "rgb", "color rgb"]);
    let class = |row: csv::StringRecord| -> Option<NamedClass> {
        let [red, green, blue] = channels.map(|place: Option<usize>| row.get(place?)?.parse::<u8>().ok());
        let separate = red.zip(green).zip(blue).map(|((r, g), b)| [r, g, b]);
        let color = separate.or_else(|| parse_color(row.get(color?)?));
        let value = value.map(|place| row.get(place).and_then(|text| text.parse::<i64>().ok()));
        match value {
            // -1 and the like are no classes.
            Some(value) => Some(NamedClass::new(row.get(name)?, Some(u16::try_from(value?).ok()?), color)),
            None => Some(NamedClass::new(row.get(name)?, None, color)),
        }
    };
    Some(reader.records().filter_map(|row| class(row.ok()?)).collect())
}

/// A class a line, all lines in the same form.
fn lines(text: &str) -> Option<Vec<NamedClass>> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if lines.iter().any(|line: &&str| FILES.iter().any(|ending| line.to_lowercase().ends_with(ending))) {
        return None;
    }
    let forms: [fn(&str) -> Option<NamedClass>; 5] = [cvat, color_first, color_last, value_first, value_last];
    let all = |form: &fn(&str) -> Option<NamedClass>| lines.iter().map(|line| form(line)).collect::<Option<Vec<_>>>();
    forms.iter().find_map(all).or_else(|| {
        // labelme lists what has no label first, as -1.
        let named = lines.strip_prefix(&["__ignore__"]).unwrap_or(&lines);
        Some(named.iter().map(|name| NamedClass::new(name, None, None)).collect())
    })
}

/// `name:r,g,b:parts:actions`
fn cvat(line: &str) -> Option<NamedClass> {
    let (name, rest) = line.split_once(':')?;
    Some(NamedClass::new(name, None, Some(parse_color(rest.split(':').next()?)?)))
}

/// `r g b name`
fn color_first(line: &str) -> Option<NamedClass> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (color, name) = words.split_first_chunk()?;
    colored(name, color)
}

/// `name r g b`
fn color_last(line: &str) -> Option<NamedClass> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, color) = words.split_last_chunk()?;
    colored(name, color)
}

fn colored(name: &[&str], [r, g, b]: &[&str; 3]) -> Option<NamedClass> {
    let color = [r.parse().ok()?, g.parse().ok()?, b.parse().ok()?];
    (!name.is_empty()).then(|| NamedClass::new(&name.join(" "), None, Some(color)))
}

/// `3 name`, `3: name`, `3,name`, `3=name`
fn value_first(line: &str) -> Option<NamedClass> {
    let end = line.find(|c: char| !c.is_ascii_digit())?;
    let name = line[end..].trim_start_matches([' ', '\t', ':', ',', '=', ';']);
    (name.len() < line.len() - end).then(|| NamedClass::new(name, line[..end].parse().ok(), None))
}

/// `name: 3`, `name=3`, `name,3`
fn value_last(line: &str) -> Option<NamedClass> {
    let (name, value) = line.rsplit_once([':', '=', ',', '\t'])?;
    Some(NamedClass::new(name, Some(value.trim().parse().ok()?), None))
}

/// `1,2,3`, `1 2 3`, `(1, 2, 3)` or `#010203`.
fn parse_color(text: &str) -> Option<[u8; 3]> {
    let is_color = |digits: &&str| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digits) = text.trim().strip_prefix('#').filter(is_color) {
        let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        return Some([r, g, b]);
    }
    let inner = text.trim().trim_matches(['(', ')', '[', ']']);
    let channels = inner.split([',', ' ']).filter(|part| !part.is_empty()).map(|part| part.trim().parse().ok());
    channels.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, values and colours of a file with that text.
    fn read(text: &str) -> Vec<(String, Option<u16>, Option<[u8; 3]>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        fs::write(&path, text).unwrap();
        let classes = ClassNames::read(&path).unwrap().classes;
        classes.into_iter().map(|class| (class.name, class.value, class.color)).collect()
    }

    fn named(name: &str, value: Option<u16>, color: Option<[u8; 3]>) -> (String, Option<u16>, Option<[u8; 3]>) {
        (name.into(), value, color)
    }

    #[test]
    fn files_of_other_tools_are_read() {
        let plain = [named("background", None, None), named("oil seep", None, None)];
        assert_eq!(read("\u{feff}background\r\n\r\noil seep\r\n"), plain);
        assert_eq!(read("__ignore__\n_background_\noil seep\n"), plain, "labelme");
        let valued = [named("background", Some(0), None), named("oil seep", Some(3), None)];
        for text in [
            "0 background\n3 oil seep\n",
            "0: background\n3: oil seep",
            "background: 0\noil seep: 3\n",
            "Pixel Value, Class\n0, background\n3, oil seep\n",
            "id;name\n0;background\n3;oil seep\n-1;border\n",
        ] {
            assert_eq!(read(text), valued, "{text}");
        }
        let colored = [named("sky", None, Some([0, 0, 255])), named("tall tree", None, Some([1, 2, 3]))];
        for text in [
            "# label:color_rgb:parts:actions\nsky:0,0,255::\ntall tree:1,2,3::\n",
            "name,r,g,b\nsky,0,0,255\ntall tree,1,2,3\n",
            "class_name,color\nsky,#0000ff\ntall tree,\"(1, 2, 3)\"\n",
            "0 0 255\tsky\n1 2 3\ttall tree\n",
            "sky 0 0 255\ntall tree 1 2 3\n",
        ] {
            assert_eq!(read(text), colored, "{text}");
        }
        let ade = "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1576,11664,1172,1,wall\n2,0.1072,6046,612,1,building;edifice\n";
        assert_eq!(read(ade), [named("wall", Some(1), None), named("building", Some(2), None)]);
        let own = "label,name,red,green,blue\n1,wall,120,120,120\n";
        assert_eq!(read(own), [named("wall", Some(1), Some([120; 3]))]);
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        for (text, expected) in [
            ("masks/a.png\nmasks/b.png\n", "no class names"),
            ("# nothing\n", "no class names"),
            ("1 a\n1 b\n", "value 1 to two classes"),
        ] {
            fs::write(&path, text).unwrap();
            assert_refused!(ClassNames::read(&path), expected, "labels.txt");
        }
    }

    #[test]
    fn names_without_values_get_those_of_the_label_images() {
        let class = |name: &str| NamedClass::new(name, None, None);
        let names = ClassNames { path: "x".into(), classes: ["a", "b", "c"].map(class).to_vec() };
        let values = |found: &[u16]| {
            names.with_values(found).map(|named| named.into_iter().map(|(value, _)| value).collect::<Vec<_>>())
        };
        for (found, expected) in [
            (&[0, 1, 2][..], [0, 1, 2]),
            (&[0, 2], [0, 1, 2]),
            (&[0, 1, 2, 3], [1, 2, 3]),
            (&[1, 3], [1, 2, 3]),
            (&[0, 3], [1, 2, 3]),
            (&[0, 128, 255], [0, 128, 255]),
            (&[0, 10, 20, 30], [10, 20, 30]),
        ] {
            assert_eq!(values(found).unwrap(), expected, "{found:?}");
        }
        assert!(values(&[0, 7]).unwrap_err().contains("names 3 classes, but the label images hold 2 values up to 7"));
    }

    #[test]
    fn names_that_mean_no_label_are_known() {
        for (name, expected) in [("Void", true), ("__ignore__", true), ("Not_Labelled", true), ("unknown", false)] {
            assert_eq!(NamedClass::new(name, None, None).means_no_label(), expected, "{name}");
        }
    }
}
