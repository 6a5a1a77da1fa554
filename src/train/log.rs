//! `log.csv`: one row an epoch.

use std::path::Path;

use crate::error::{Error, Result};
use crate::event::{EpochReport, Validation};
use crate::files::{read_text, write_bytes};

/// One epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Pixel accuracy, mean IoU, then the IoU of each class, where there is validation.
    pub scores: Vec<Option<f64>>,
    /// Seconds of training.
    pub seconds: f64,
    /// Training pictures a second.
    pub images_per_second: f64,
    /// Share of the time spent waiting for data.
    pub data_wait: f64,
}

impl Row {
    /// The row of a report.
    pub(super) fn new(report: &EpochReport, learning_rate: f64, classes: usize) -> Self {
        let scores = match &report.validation {
            None => vec![None; classes + 2],
            Some(Validation { pixel_accuracy, mean_iou, class_iou }) => [Some(*pixel_accuracy), Some(*mean_iou)]
                .into_iter()
                .chain(class_iou.iter().map(|(_, iou)| *iou))
                .collect(),
        };
        Self {
            epoch: report.epoch,
            learning_rate,
            train_loss: report.train_loss,
            scores,
            seconds: report.seconds,
            images_per_second: report.images_per_second,
            data_wait: report.wait,
        }
    }

    /// Mean IoU of the validation.
    pub fn mean_iou(&self) -> Option<f64> {
        self.scores.get(1).copied().flatten()
    }
}

/// Writes all rows.
pub(super) fn write(path: &Path, classes: &[String], rows: &[Row]) -> Result<()> {
    let names: String = classes.iter().map(|name| format!(",{}", quoted(&format!("iou {name}")))).collect();
    let mut text =
        format!("epoch,learning_rate,train_loss,pixel_accuracy,mean_iou{names},seconds,images_per_second,data_wait\n");
    for row in rows {
        let scores: String = row.scores.iter().map(|s| s.map_or_else(|| ",".into(), |s| format!(",{s}"))).collect();
        text.push_str(&format!(
            "{},{},{}{scores},{:.3},{:.3},{:.4}\n",
            row.epoch, row.learning_rate, row.train_loss, row.seconds, row.images_per_second, row.data_wait
        ));
    }
    write_bytes(path, text.as_bytes())
}

fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}

/// Reads the first `count` rows back.
pub(super) fn read(path: &Path, classes: usize, count: usize) -> Result<Vec<Row>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let text = read_text(path)?;
    let rows: Option<Vec<Row>> = text.lines().skip(1).take(count).map(|line| parse(line, classes)).collect();
    match rows {
        Some(rows) if rows.len() == count => Ok(rows),
        _ => Err(Error::content(path, format!("should hold {count} epochs, one row each; it is damaged or cut short"))),
    }
}

fn parse(line: &str, classes: usize) -> Option<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    if fields.len() != classes + 8 {
        return None;
    }
    let number = |i: usize| fields[i].parse::<f64>().ok();
    let scores = (3..classes + 5).map(|i| if fields[i].is_empty() { Some(None) } else { number(i).map(Some) });
    Some(Row {
        epoch: fields[0].parse().ok()?,
        learning_rate: number(1)?,
        train_loss: number(2)?,
        scores: scores.collect::<Option<_>>()?,
        seconds: number(classes + 5)?,
        images_per_second: number(classes + 6)?,
        data_wait: number(classes + 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let row = |epoch, iou| Row {
            epoch,
            learning_rate: 0.001 / 3.0,
            train_loss: 0.1 + 0.2,
            scores: vec![Some(0.9), iou, iou, None],
            seconds: 1.5,
            images_per_second: 2.25,
            data_wait: 0.125,
        };
        let rows = vec![row(1, None), row(2, Some(0.25))];
        write(&path, &["sand, coarse".into(), "salt".into()], &rows).unwrap();
        assert!(
            read_text(&path)
                .unwrap()
                .starts_with("epoch,learning_rate,train_loss,pixel_accuracy,mean_iou,\"iou sand, coarse\",iou salt,")
        );
        assert_eq!(read(&path, 2, 2).unwrap(), rows);
        assert_eq!(read(&path, 2, 1).unwrap(), rows[..1]);
        assert!(read(&path, 2, 3).is_err() && read(&path, 3, 1).is_err());
    }
}
