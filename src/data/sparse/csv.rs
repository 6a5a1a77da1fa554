//! Labels as a table of points or rectangles.
//!
//! | table of | columns |
//! | --- | --- |
//! | points | `file,x,y,class` |
//! | rectangles | `file,x0,y0,x1,y1,class` |
//!
//! The columns may stand in any order and in capitals, and others beside them are left out; the separator is a comma, a
//! semicolon or a tab. Coordinates are pixels, with (0, 0) at the top left, and both corners lie inside of a rectangle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

use crate::base::files::read_text;
use crate::base::label_map::{IGNORE, LabelMap};
use crate::base::{Error, Result, Size};
use crate::data::Dataset;
use crate::data::file_table::{line_of, separator};

/// What columns there are, for errors.
const WANTED: &str = "file,x,y,class for points, or file,x0,y0,x1,y1,class for rectangles";

/// The labels of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvLabels {
    /// The image.
    pub image: PathBuf,
    /// What is labelled, in the order of the table.
    pub shapes: Vec<Shape>,
}

/// A labelled rectangle, or point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its line in the table, from 1.
    pub line: u64,
    /// Its class index.
    pub class: u16,
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Last column; that of a point is its first.
    pub right: usize,
    /// Last row.
    pub bottom: usize,
}

impl CsvLabels {
    /// The classes of the image, which has that size; [`IGNORE`] where no shape is. Where shapes overlap, the later
    /// one covers the earlier. `csv` is what errors call the table.
    pub fn paint(&self, csv: &Path, size: Size) -> Result<LabelMap> {
        let mut classes = vec![IGNORE; size.width * size.height];
        for &Shape { line, class, left, top, right, bottom } in &self.shapes {
            if right >= size.width || bottom >= size.height {
                let image = self.image.display();
                let reason = format!("pixel ({right}, {bottom}) lies outside {image}, which is {size}");
                return Err(at_line(csv, line, reason));
            }
            for row in classes.chunks_exact_mut(size.width).take(bottom + 1).skip(top) {
                row[left..=right].fill(class);
            }
        }
        Ok(LabelMap { size, classes })
    }
}

/// Reads a table of labels by image, in the order in which the images appear. A class is a name, in capitals or
/// not, or a label value of the dataset. A relative file is looked for beside the table, then in `folder`, then in
/// the working directory.
pub fn read_label_csv(path: &Path, dataset: &Dataset, folder: Option<&Path>) -> Result<Vec<CsvLabels>> {
    let text = read_text(path)?;
    let mut records = records(path, &text)?.into_iter();
    let Some((line, mut header)) = records.next() else {
        return Err(Error::content(path, format!("the table is empty; it needs the columns {WANTED}")));
    };
    header.trim();
    let columns = Columns::find(&header).map_err(|reason| at_line(path, line, reason))?;
    let classes = Classes::new(dataset);
    let mut images = Images::new(path, folder);
    for (line, record) in records {
        let mut fields = record.clone();
        fields.trim();
        let shape = columns.shape(line, &fields, &classes).and_then(|shape| {
            let (whole, file) = (&record[columns.file], &fields[columns.file]);
            // A name may begin or end with a blank.
            let is_whole = whole != file && (images.by_name.contains_key(whole) || images.find(whole).is_ok());
            images.of(if is_whole { whole } else { file })?.shapes.push(shape);
            Ok(())
        });
        shape.map_err(|reason| at_line(path, line, reason))?;
    }
    if images.found.is_empty() {
        return Err(Error::content(path, "the table has a header but no rows; it needs one row per label"));
    }
    Ok(images.found)
}

fn at_line(path: &Path, line: u64, reason: String) -> Error {
    Error::content(path, format!("line {line}: {reason}"))
}

/// The rows that are not empty with their lines, the header among them.
fn records(path: &Path, text: &str) -> Result<Vec<(u64, StringRecord)>> {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(separator(text)).has_headers(false).flexible(true);
    let mut found = Vec::new();
    for record in builder.from_reader(text.as_bytes()).into_records() {
        let record = record.map_err(|e| Error::content(path, e))?;
        // Spreadsheets write rows of separators where nothing is.
        if record.iter().any(|field| !field.trim().is_empty()) {
            found.push((line_of(text, &record), record));
        }
    }
    Ok(found)
}

/// Where in a row what stands.
struct Columns {
    /// In small letters.
    names: Vec<String>,
    file: usize,
    class: usize,
    /// x and y of one corner, then of the other; of a point, the same.
    corners: [usize; 4],
}

impl Columns {
    fn find(header: &StringRecord) -> Result<Self, String> {
        let names: Vec<String> = header.iter().map(str::to_lowercase).collect();
        let quoted = |names: &[String]| names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
        let at = |name: &str| {
            let mut found = (0..names.len()).filter(|&i| names[i] == name);
            match (found.next(), found.next()) {
                (Some(i), None) => Ok(i),
                (Some(_), Some(_)) => Err(format!("two columns are named '{name}'; rename one")),
                (None, _) => {
                    Err(format!("there is no column '{name}', only {}; the columns must be {WANTED}", quoted(&names)))
                }
            }
        };
        let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
        let corners = match (has(&["x", "y"]), has(&["x0", "y0", "x1", "y1"])) {
            (true, true) => {
                let found = quoted(&names);
                return Err(format!("the columns mix points and rectangles ({found}); they must be {WANTED}"));
            }
            (_, true) => [at("x0")?, at("y0")?, at("x1")?, at("y1")?],
            (_, false) => [at("x")?, at("y")?, at("x")?, at("y")?],
        };
        Ok(Self { file: at("file")?, class: at("class")?, corners, names })
    }

    fn shape(&self, line: u64, record: &StringRecord, classes: &Classes<'_>) -> Result<Shape, String> {
        if record.len() != self.names.len() {
            return Err(format!("there are {} fields; the header has {}", record.len(), self.names.len()));
        }
        let coordinate = |corner: usize| {
            let column = self.corners[corner];
            coordinate(&self.names[column], &record[column])
        };
        let (x0, y0, x1, y1) = (coordinate(0)?, coordinate(1)?, coordinate(2)?, coordinate(3)?);
        let class = classes.find(&record[self.class])?;
        Ok(Shape { line, class, left: x0.min(x1), top: y0.min(y1), right: x0.max(x1), bottom: y0.max(y1) })
    }
}

fn coordinate(name: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| {
        let is_negative = text.parse::<i64>().is_ok_and(|number| number < 0);
        let fault = if is_negative { "is negative" } else { "is not a whole number" };
        format!("{name} '{text}' {fault}; pixels are counted from 0, at the top left")
    })
}

/// What classes may be called.
struct Classes<'a> {
    dataset: &'a Dataset,
    /// By name in small letters; `None` where several have it.
    names: BTreeMap<String, Option<u16>>,
    values: BTreeMap<u16, u16>,
}

impl<'a> Classes<'a> {
    fn new(dataset: &'a Dataset) -> Self {
        let (mut names, mut values) = (BTreeMap::new(), BTreeMap::new());
        for (class, index) in dataset.classes.iter().zip(0..) {
            names.entry(class.name.to_lowercase()).and_modify(|shared| *shared = None).or_insert(Some(index));
            values.extend(class.values.iter().map(|value| (*value, index)));
        }
        Self { dataset, names, values }
    }

    fn find(&self, text: &str) -> Result<u16, String> {
        let value = || text.parse().ok().and_then(|value: u16| self.values.get(&value).copied());
        match self.names.get(&text.to_lowercase()) {
            Some(Some(class)) => Ok(*class),
            Some(None) => Err(format!("several classes are called '{text}'; give the label value instead")),
            None => value().ok_or_else(|| {
                let known = self.dataset.classes.iter().map(|class| format!("{} ({})", class.name, class.values[0]));
                let known = known.collect::<Vec<_>>().join(", ");
                format!("there is no class '{text}' in data set '{}'; its classes are {known}", self.dataset.name)
            }),
        }
    }
}

/// The images that a table names.
struct Images<'a> {
    /// Where relative names are looked for before the working directory.
    folders: Vec<&'a Path>,
    found: Vec<CsvLabels>,
    /// Positions in `found` by name as written, so that files are looked for once.
    by_name: BTreeMap<String, usize>,
    /// By canonical path: an image may be named in several ways.
    by_path: BTreeMap<PathBuf, usize>,
}

impl<'a> Images<'a> {
    fn new(csv: &'a Path, folder: Option<&'a Path>) -> Self {
        let folders = csv.parent().into_iter().chain(folder).collect();
        Self { folders, found: Vec::new(), by_name: BTreeMap::new(), by_path: BTreeMap::new() }
    }

    fn of(&mut self, name: &str) -> Result<&mut CsvLabels, String> {
        let position = match self.by_name.get(name) {
            Some(position) => *position,
            None => {
                let image = self.find(name)?;
                let real = fs::canonicalize(&image).map_err(|e| Error::read(&image, e).to_string())?;
                let position = *self.by_path.entry(real).or_insert(self.found.len());
                if position == self.found.len() {
                    self.found.push(CsvLabels { image, shapes: Vec::new() });
                }
                self.by_name.insert(name.into(), position);
                position
            }
        };
        Ok(&mut self.found[position])
    }

    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let mut places: Vec<PathBuf> = Vec::new();
        // Joined to a folder, an absolute name stays what it is.
        for place in self.folders.iter().map(|folder| folder.join(name)).chain([name.into()]) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if let Some(place) = places.iter().find(|place| place.is_file()) {
            return Ok(place.clone());
        }
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Err(format!("there is no file '{name}'; looked for {}", looked.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const SIZE: Size = Size { width: 4, height: 3 };

    #[test]
    fn names_may_begin_with_a_comment_sign_or_with_blanks() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["#1.png", " 2.png", "3.png"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let table = folder.path().join("table.csv");
        fs::write(&table, "file , x,y, class\n#1.png,0,0, 1\n 2.png, 1 ,1,1\n\" 2.png\",2,1,1\n 3.png ,0,0,1\n")
            .unwrap();
        let found = read_label_csv(&table, &Dataset::find("core").unwrap(), None).unwrap();
        let names: Vec<_> = found.iter().map(|labels| labels.image.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["#1.png", " 2.png", "3.png"]);
        assert_eq!(found[1].shapes.len(), 2);
    }

    /// A folder with the images a.png and b.png and a table.
    fn table(text: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let path = folder.path().join("labels.csv");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    /// Classes 0 to 3 are values 1 to 4.
    fn core() -> Dataset {
        Dataset::find("core").unwrap()
    }

    fn read(text: &str) -> Vec<CsvLabels> {
        let (_folder, path) = table(text);
        read_label_csv(&path, &core(), None).unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    fn message(text: &str) -> String {
        let (folder, path) = table(text);
        let message = read_label_csv(&path, &core(), None).unwrap_err().to_string();
        message.replace(&format!("{}/", folder.path().display()), "")
    }

    /// The corners and classes of the first image.
    fn shapes(text: &str) -> Vec<([usize; 4], u16)> {
        read(text)[0].shapes.iter().map(|s| ([s.left, s.top, s.right, s.bottom], s.class)).collect()
    }

    #[test]
    fn points_by_image_in_the_order_of_appearance() {
        let found = read("file,x,y,class\nb.png,1,2,rubble\na.png,0,0,1\nb.png,3,0,Dark Gap\n./b.png,3,1,4\n");
        let names: Vec<_> = found.iter().map(|labels| labels.image.file_name().unwrap()).collect();
        assert_eq!(names, ["b.png", "a.png"]);
        let shape = |line, class, x, y| Shape { line, class, left: x, top: y, right: x, bottom: y };
        assert_eq!(found[0].shapes, [shape(2, 1, 1, 2), shape(4, 3, 3, 0), shape(5, 3, 3, 1)]);
        assert_eq!(found[1].shapes, [shape(3, 0, 0, 0)]);
    }

    #[test]
    fn columns_and_separators_of_any_kind() {
        let wanted = [([1, 2, 1, 2], 1)];
        for text in [
            "file,x,y,class\na.png,1,2,rubble",
            "\u{feff}FILE;X;Y;Class\r\na.png;1;2;RUBBLE\r\n",
            "class\ty\tx\tfile\n2\t2\t1\ta.png\n",
            " file , x , note , y , class \n a.png , 1 , said so , 2 , rubble \n",
            "\"file\",\"x\",\"y\",\"class\"\n\"a.png\",\"1\",\"2\",\"rubble\"\n",
            "\n\nfile,x,y,class\n\n  \n,,,\na.png,1,2,rubble\n,,,\n",
        ] {
            assert_eq!(shapes(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn corners_of_rectangles_may_stand_in_any_order() {
        let text = "file;x0;y0;x1;y1;class\na.png;3;0;1;2;1\na.png;1;2;3;0;1\na.png;1;0;3;2;1\na.png;2;2;2;2;1\n";
        let wanted = [1, 0, 3, 2];
        assert_eq!(shapes(text), [(wanted, 0), (wanted, 0), (wanted, 0), ([2; 4], 0)]);
    }

    #[test]
    fn both_corners_are_inside_and_later_shapes_cover_earlier_ones() {
        let text = "file,x0,y0,x1,y1,class\na.png,0,0,2,1,rubble\na.png,3,2,2,1,1\na.png,0,0,0,0,4\n";
        let no = IGNORE;
        let labels = read(text)[0].paint(Path::new("labels.csv"), SIZE).unwrap();
        assert_eq!(labels, LabelMap { size: SIZE, classes: vec![3, 1, 1, no, 1, 1, 0, 0, no, no, 0, 0] });
    }

    #[test]
    fn a_shape_outside_of_the_image_is_an_error() {
        for (row, pixel) in [("4,0,1,1", "(4, 1)"), ("0,3,1,1", "(1, 3)"), ("9,9,0,0", "(9, 9)")] {
            let labels = &read(&format!("file,x0,y0,x1,y1,class\na.png,3,2,3,2,1\na.png,{row},1\n"))[0];
            let message = labels.paint(Path::new("labels.csv"), SIZE).unwrap_err().to_string();
            let image = labels.image.display();
            assert_eq!(message, format!("labels.csv: line 3: pixel {pixel} lies outside {image}, which is 4x3"));
        }
    }

    #[test]
    fn files_are_looked_for_in_several_places() {
        let (beside, path) = table("");
        let (folder, _) = table("");
        fs::write(folder.path().join("c.png"), "").unwrap();
        let absolute = folder.path().join("b.png");
        let names = ["a.png", "c.png", absolute.to_str().unwrap(), "Cargo.toml"];
        let rows: Vec<String> = names.iter().map(|name| format!("{name},0,0,1\n")).collect();
        fs::write(&path, format!("file,x,y,class\n{}", rows.concat())).unwrap();
        let found = read_label_csv(&path, &core(), Some(folder.path())).unwrap();
        let images: Vec<PathBuf> = found.into_iter().map(|labels| labels.image).collect();
        let wanted = [beside.path().join("a.png"), folder.path().join("c.png"), absolute, "Cargo.toml".into()];
        assert_eq!(images, wanted);
        fs::write(&path, "file,x,y,class\na.png,0,0,1\nno.png,0,0,1\n").unwrap();
        let message = read_label_csv(&path, &core(), Some(folder.path())).unwrap_err().to_string();
        let [here, there] = [&beside, &folder].map(|folder| folder.path().join("no.png").display().to_string());
        let wanted = format!("line 3: there is no file 'no.png'; looked for {here}, {there}, no.png");
        assert_eq!(message, format!("{}: {wanted}", path.display()));
        fs::write(&path, "file,x,y,class\n/no.png,0,0,1\n").unwrap();
        let message = read_label_csv(&path, &core(), Some(folder.path())).unwrap_err().to_string();
        assert!(message.ends_with("line 2: there is no file '/no.png'; looked for /no.png"), "{message}");
    }

    #[test]
    fn broken_headers_are_named() {
        let wanted = "the columns must be file,x,y,class for points, or file,x0,y0,x1,y1,class for rectangles";
        let empty = wanted.replace("the columns must be", "the table is empty; it needs the columns");
        for (text, reason) in [
            ("", empty.clone()),
            ("\n,,\n", empty),
            ("file,x,y\na.png,1,2\n", format!("line 1: there is no column 'class', only 'file', 'x', 'y'; {wanted}")),
            (
                "\nfile,x0,y0,x1,class\n",
                format!("line 2: there is no column 'y1', only 'file', 'x0', 'y0', 'x1', 'class'; {wanted}"),
            ),
            ("a.png,1,2,1\n", format!("line 1: there is no column 'x', only 'a.png', '1', '2', '1'; {wanted}")),
            (
                "file,x,y,x1,class\n",
                format!(
                    "line 1: the columns mix points and rectangles ('file', 'x', 'y', 'x1', 'class'); {}",
                    wanted.replace("the columns", "they")
                ),
            ),
            ("file,x,y,class,X\n", "line 1: two columns are named 'x'; rename one".into()),
            ("file,x,y,class\n\n", "the table has a header but no rows; it needs one row per label".into()),
        ] {
            assert_eq!(message(text), format!("labels.csv: {reason}"), "{text:?}");
        }
    }

    #[test]
    fn broken_rows_are_named() {
        let counted = "pixels are counted from 0, at the top left";
        let classes = "intact sandstone (1), rubble (2), grey granodiorite (3), dark gap (4)";
        for (row, reason) in [
            ("a.png,1.5,2,1", format!("x '1.5' is not a whole number; {counted}")),
            ("a.png,1,,1", format!("y '' is not a whole number; {counted}")),
            ("a.png,1,-2,1", format!("y '-2' is negative; {counted}")),
            ("a.png,1,2,coal", format!("there is no class 'coal' in data set 'core'; its classes are {classes}")),
            ("a.png,1,2,0", format!("there is no class '0' in data set 'core'; its classes are {classes}")),
            ("a.png,1,2", "there are 3 fields; the header has 4".into()),
            ("a.png,1,2,dark, gap", "there are 5 fields; the header has 4".into()),
            ("c.png,1,2,1", "there is no file 'c.png'; looked for c.png, c.png".into()),
        ] {
            // Empty lines count, and so do those of Windows.
            for (text, line) in [
                (format!("file,x,y,class\na.png,0,0,1\n{row}\n"), 3),
                (format!("\r\nfile,x,y,class\r\n\r\na.png,0,0,1\r\n\r\n\r\n{row}"), 7),
            ] {
                assert_eq!(message(&text), format!("labels.csv: line {line}: {reason}"), "{text:?}");
            }
        }
    }

    #[test]
    fn a_name_that_two_classes_share_is_refused() {
        let (_folder, path) = table("file,x,y,class\na.png,0,0,Screen\n");
        let words = "line 2: several classes are called 'Screen'; give the label value instead";
        assert_refused!(read_label_csv(&path, &Dataset::find("ade20k").unwrap(), None), words);
    }
}
