//! Proportions as a table.

use super::{Depths, Proportions, dominant};
use crate::base::{Error, Result};

impl Proportions {
    /// One line a bin: `from_px` and `to_px` (the first pixel of the next bin), with depths `from_m` and `to_m` to a
    /// tenth of a millimetre, the labelled `pixels`, each class's share of them from 0 to 1, and the name of the
    /// `dominant` class. Where nothing is labelled, shares and name are empty. `names` has one name a class.
    pub fn to_csv(&self, names: &[String], depths: Option<Depths>) -> Result<String> {
        self.check("names", names.len())?;
        let failed = |cause: String| Error::failed("write the table of proportions", cause);
        let write = || -> csv::Result<csv::Writer<Vec<u8>>> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(header(names, depths))?;
            for record in self.records(names, depths) {
                csv.write_record(record)?;
            }
            Ok(csv)
        };
        let bytes = write().map_err(|e| failed(e.to_string()))?.into_inner().map_err(|e| failed(e.to_string()))?;
        String::from_utf8(bytes).map_err(|e| failed(e.to_string()))
    }

    fn records(&self, names: &[String], depths: Option<Depths>) -> impl Iterator<Item = Vec<String>> {
        self.bins().map(move |(range, counts)| {
            let edges = [range.start, range.end];
            let mut record: Vec<String> = edges.iter().map(usize::to_string).collect();
            if let Some(depths) = depths {
                record.extend(edges.iter().map(|&edge| format!("{:.4}", depths.at(edge, self.length()))));
            }
            let pixels: u64 = counts.iter().sum();
            let share = |count: &u64| match pixels {
                0 => String::new(),
                _ => format!("{:.6}", *count as f64 / pixels as f64),
            };
            record.push(pixels.to_string());
            record.extend(counts.iter().map(share));
            record.push(dominant(counts).map_or_else(String::new, |class| names[class].clone()));
            record
        })
    }
}

fn header(names: &[String], depths: Option<Depths>) -> Vec<&str> {
    let mut header = vec!["from_px", "to_px"];
    if depths.is_some() {
        header.extend(["from_m", "to_m"]);
    }
    header.push("pixels");
    header.extend(names.iter().map(String::as_str));
    header.push("dominant");
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;
    use crate::base::label_map::{IGNORE, LabelMap};
    use crate::tools::proportions::Axis;

    const NAMES: [&str; 2] = ["sand, \"fine\"", "shale"];

    fn table(depths: Option<Depths>) -> String {
        let size = Size { width: 2, height: 5 };
        let labels = LabelMap { size, classes: vec![0, 0, 0, 1, IGNORE, 1, IGNORE, IGNORE, IGNORE, IGNORE] };
        Proportions::of(&labels, 2, Axis::Vertical, 3).unwrap().to_csv(&NAMES.map(String::from), depths).unwrap()
    }

    #[test]
    fn a_line_says_what_a_bin_holds() {
        let expected = "from_px,to_px,pixels,\"sand, \"\"fine\"\"\",shale,dominant\n\
                        0,2,4,0.750000,0.250000,\"sand, \"\"fine\"\"\"\n\
                        2,3,1,0.000000,1.000000,shale\n\
                        3,5,0,,,\n";
        assert_eq!(table(None), expected);
    }

    #[test]
    fn depths_of_bins_meet() {
        let table = table(Some(Depths::new(-0.5, 2.0).unwrap()));
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(&reader.headers().unwrap().iter().collect::<Vec<_>>()[2..6], ["from_m", "to_m", "pixels", NAMES[0]]);
        let depths: Vec<String> = reader.records().map(|r| r.unwrap().iter().skip(2).take(2).collect()).collect();
        assert_eq!(depths, ["-0.50000.5000", "0.50001.0000", "1.00002.0000"]);
    }

    #[test]
    fn there_is_a_name_for_each_class() {
        let labels = LabelMap { size: Size { width: 1, height: 1 }, classes: vec![0] };
        let proportions = Proportions::of(&labels, 2, Axis::Horizontal, 1).unwrap();
        assert!(proportions.to_csv(&["sand".into()], None).is_err());
    }
}
