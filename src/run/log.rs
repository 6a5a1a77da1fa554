//! `log.csv`: one row an epoch.

use std::path::Path;

use csv::StringRecord;

use crate::base::event::{EpochReport, Validation};
use crate::base::files::{read_bytes, read_text, write_bytes};
use crate::base::{Error, Result};

/// Columns before the IoU of the classes.
const BEFORE: [&str; 7] = ["epoch", "phase", "learning_rate", "train_loss", "val_loss", "pixel_accuracy", "mean_iou"];
/// Columns after them.
const AFTER: [&str; 3] = ["seconds", "images_per_second", "data_wait"];

/// One epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Phase that it belongs to, from 1.
    pub phase: usize,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean loss on the validation set, where it was computed and is a number.
    pub validation_loss: Option<f64>,
    /// Pixel accuracy, mean IoU, then the IoU of each class, where there is validation and it gave numbers.
    pub scores: Vec<Option<f64>>,
    /// Seconds of training.
    pub seconds: f64,
    /// Training images a second.
    pub images_per_second: f64,
    /// Share of the time spent waiting for data.
    pub data_wait: f64,
}

impl Row {
    /// The row of a report.
    pub(crate) fn new(report: &EpochReport, classes: usize) -> Self {
        // Scores of a network that says nothing would be those of the first class.
        let scores = match report.validation.as_ref().filter(|validation| validation.is_numeric()) {
            None => vec![None; classes + 2],
            Some(Validation { pixel_accuracy, mean_iou, class_iou, .. }) => [Some(*pixel_accuracy), Some(*mean_iou)]
                .into_iter()
                .chain(class_iou.iter().map(|(_, iou)| *iou))
                .collect(),
        };
        Self {
            epoch: report.epoch,
            phase: report.phase,
            learning_rate: report.learning_rate,
            train_loss: report.train_loss,
            validation_loss: report.validation.as_ref().and_then(|v| v.loss).filter(|loss| loss.is_finite()),
            scores,
            seconds: report.seconds,
            images_per_second: report.images_per_second,
            data_wait: report.wait,
        }
    }

    /// Pixel accuracy of the validation.
    pub fn pixel_accuracy(&self) -> Option<f64> {
        self.scores.first().copied().flatten()
    }

    /// Mean IoU of the validation.
    pub fn mean_iou(&self) -> Option<f64> {
        self.scores.get(1).copied().flatten()
    }

    /// IoU of each class.
    pub fn class_iou(&self) -> &[Option<f64>] {
        self.scores.get(2..).unwrap_or_default()
    }

    fn fields(&self) -> Vec<String> {
        let filled = |value: &Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let mut fields = vec![self.epoch.to_string(), self.phase.to_string()];
        fields.extend([self.learning_rate.to_string(), self.train_loss.to_string(), filled(&self.validation_loss)]);
        fields.extend(self.scores.iter().map(filled));
        fields.extend([format!("{:.3}", self.seconds), format!("{:.3}", self.images_per_second)]);
        fields.push(format!("{:.4}", self.data_wait));
        fields
    }

    fn parse(record: &StringRecord) -> Option<Self> {
        let number = |i: usize| record.get(i)?.parse::<f64>().ok().filter(|value| value.is_finite());
        let optional = |i: usize| if record.get(i)?.is_empty() { Some(None) } else { number(i).map(Some) };
        let after = record.len().checked_sub(AFTER.len())?;
        Some(Self {
            epoch: record.get(0)?.parse().ok()?,
            phase: record.get(1)?.parse().ok()?,
            learning_rate: number(2)?,
            train_loss: number(3)?,
            validation_loss: optional(4)?,
            scores: (5..after).map(optional).collect::<Option<_>>()?,
            seconds: number(after)?,
            images_per_second: number(after + 1)?,
            data_wait: number(after + 2)?,
        })
    }
}

fn header(classes: &[String]) -> Vec<String> {
    let ious = classes.iter().map(|name| format!("iou {name}"));
    BEFORE.map(String::from).into_iter().chain(ious).chain(AFTER.map(String::from)).collect()
}

/// Writes all rows.
pub(crate) fn write(path: &Path, classes: &[String], rows: &[Row]) -> Result<()> {
    write_bytes(path, &encode(path, classes, rows)?)
}

/// Whether a file holds these rows and nothing else.
pub(crate) fn holds(path: &Path, classes: &[String], rows: &[Row]) -> bool {
    encode(path, classes, rows).ok().is_some_and(|wanted| read_bytes(path).is_ok_and(|found| found == wanted))
}

fn encode(path: &Path, classes: &[String], rows: &[Row]) -> Result<Vec<u8>> {
    let failed = |e: csv::Error| Error::content(path, e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header(classes)).map_err(failed)?;
    for row in rows {
        writer.write_record(row.fields()).map_err(failed)?;
    }
    writer.into_inner().map_err(|e| Error::content(path, e))
}

/// Reads the first `count` rows back.
pub(crate) fn read(path: &Path, classes: &[String], count: usize) -> Result<Vec<Row>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let text = read_text(path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let expected = header(classes);
    if !reader.headers().is_ok_and(|found| found.iter().eq(expected.iter().map(String::as_str))) {
        let reason = "its first line does not name the columns of this run; it is damaged, or was written by another \
                      version of segtool";
        return Err(Error::content(path, reason));
    }
    let row = |(i, record): (usize, csv::Result<StringRecord>)| {
        Row::parse(&record.ok()?).filter(|row| row.epoch == i + 1 && row.phase > 0)
    };
    let rows: Option<Vec<Row>> = reader.records().take(count).enumerate().map(row).collect();
    match rows {
        Some(rows) if rows.len() == count => Ok(rows),
        _ => Err(Error::content(path, format!("should hold {count} epochs, one row each; it is damaged or cut short"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize, iou: Option<f64>) -> Row {
        Row {
            epoch,
            phase: epoch.div_ceil(2),
            learning_rate: 0.001 / 3.0,
            train_loss: 0.1 + 0.2,
            validation_loss: iou.map(|iou| iou / 3.0),
            scores: vec![Some(0.9), iou, iou, None],
            seconds: 1.5,
            images_per_second: 2.25,
            data_wait: 0.125,
        }
    }

    fn names(names: [&str; 2]) -> Vec<String> {
        names.map(String::from).to_vec()
    }

    #[test]
    fn rows_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let rows = vec![row(1, None), row(2, Some(0.25)), row(3, Some(1e-9))];
        for classes in [names(["sand, coarse", "salt"]), names(["a \"b\"", "line\nbreak"])] {
            write(&path, &classes, &rows).unwrap();
            assert_eq!(read(&path, &classes, 3).unwrap(), rows);
            assert!(holds(&path, &classes, &rows) && !holds(&path, &classes, &rows[..2]));
            assert_eq!(read(&path, &classes, 1).unwrap(), rows[..1]);
            assert!(read(&path, &classes, 4).is_err());
        }
        write(&path, &names(["sand, coarse", "salt"]), &rows).unwrap();
        let text = read_text(&path).unwrap();
        let first = "epoch,phase,learning_rate,train_loss,val_loss,pixel_accuracy,mean_iou,\"iou sand, coarse\",iou \
                     salt,seconds,images_per_second,data_wait\n";
        assert!(text.starts_with(first), "{text}");
    }

    #[test]
    fn what_is_odd_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let classes = names(["sand", "salt"]);
        write(&path, &classes, &[row(1, None), row(2, Some(0.25))]).unwrap();
        let good = read_text(&path).unwrap();
        for (from, to) in [
            ("val_loss,", ""),
            ("iou salt", "iou pepper"),
            ("0.25", "NaN"),
            ("0.25", "inf"),
            ("0.25", "a"),
            ("\n2,1,", "\n3,1,"),
            ("\n2,1,", "\n2,0,"),
            ("\n2,1,", "\n2,1,7,"),
            (",0.1250\n2", "\n2"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            write_bytes(&path, bad.as_bytes()).unwrap();
            assert_refused!(read(&path, &classes, 2), "damaged");
        }
    }

    #[test]
    fn a_validation_loss_that_is_no_number_is_left_out() {
        let validation = Validation { loss: Some(f64::NAN), pixel_accuracy: 0.5, mean_iou: 0.5, class_iou: Vec::new() };
        let report = EpochReport {
            epoch: 1,
            phase: 1,
            learning_rate: 0.1,
            train_loss: 1.0,
            validation: Some(validation),
            best: true,
            seconds: 1.0,
            images_per_second: 1.0,
            wait: 0.0,
            left: None,
        };
        assert_eq!(Row::new(&report, 0).validation_loss, None);
    }
}
