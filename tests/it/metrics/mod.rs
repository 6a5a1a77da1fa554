//! `segtool metrics`: every convention against its project, and everything around the counts.

mod conventions;
mod inputs;
mod outputs;
mod parts;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{fixture_path, npy, read_json, stdout_of, write_list};

/// An int64 .npy, as the Capstone's script wrote them.
fn write_npy(path: &Path, [height, width]: [usize; 2], values: &[i64]) {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, npy(1, "'<i8'", false, &format!("({height}, {width})"), &data)).unwrap();
}

/// The maps of `scripts/goldens/make_metric_goldens.py`: 0..K-1, and -1 where there is no label.
struct Golden {
    json: Value,
    size: [usize; 2],
    labels: Vec<Vec<i64>>,
    predictions: Vec<Vec<i64>>,
}

impl Golden {
    fn read() -> Self {
        let json = read_json(fixture_path("metrics.json"));
        let maps = |key: &str| -> Vec<Vec<i64>> {
            let value = |c: u8| if c == b'.' { -1 } else { i64::from(c - b'a') };
            json[key].as_array().unwrap().iter().map(|m| m.as_str().unwrap().bytes().map(value).collect()).collect()
        };
        let size = ["height", "width"].map(|key| json[key].as_u64().unwrap() as usize);
        let (labels, predictions) = (maps("labels"), maps("predictions"));
        Self { json, size, labels, predictions }
    }

    /// Writes lists with label values from `first`, and `ignore` where there is no label.
    fn write(&self, folder: &Path, first: i64, ignore: i64) -> (String, String) {
        let write = |what: &str, maps: &[Vec<i64>]| {
            let paths: Vec<PathBuf> = (0..maps.len()).map(|i| folder.join(format!("{what}{i}.npy"))).collect();
            for (path, map) in paths.iter().zip(maps) {
                let values: Vec<i64> = map.iter().map(|&v| if v < 0 { ignore } else { v + first }).collect();
                write_npy(path, self.size, &values);
            }
            write_list(folder, &format!("{what}.txt"), &paths)
        };
        (write("p", &self.predictions), write("l", &self.labels))
    }
}

fn scored(predictions: &str, labels: &str, more: &[&str]) -> Value {
    let arguments = ["metrics", "--list-predict", predictions, "--list-true", labels, "--json"];
    serde_json::from_str(&stdout_of(&[&arguments, more].concat())).unwrap()
}

fn close(found: &Value, expected: &Value, what: &str) {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => assert!((found - expected).abs() < 2e-7, "{what}: {found} {expected}"),
        _ => assert_eq!(found, expected, "{what}"),
    }
}
