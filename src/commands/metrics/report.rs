//! Scores as a table, JSON, CSV, and the confusion matrix.

use std::path::Path;

use anyhow::Result;
use image::RgbImage;
use segtool::base::Error;
use segtool::base::files::{check_writable, write_atomically};
use segtool::base::named_enum::classes_that;
use segtool::base::words::counted;
use segtool::data::Dataset;
use segtool::draw::{heatmap, write_png};
use segtool::image::write_count_npy;
use segtool::metric::{AbsentClass, Baseline, ClassScores, ConfusionMatrix, Convention, Scores, Tally};
use segtool::tools::score::Partial;
use serde::Serialize;

use crate::cli::{Column, Metrics};
use crate::commands::refuse_same_file;
use crate::program::exit::wrong_usage;
use crate::program::ui;

/// Most classes whose confusion matrix is drawn: 6,000 pixels wide.
const MOST_DRAWN: usize = 500;
/// Most characters of a name that the table makes room for.
const WIDEST_NAME: usize = 200;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pixel_accuracy: f64,
    mean_class_accuracy: f64,
    mean_iou: f64,
    frequency_weighted_iou: f64,
    mean_dice: f64,
    kappa: f64,
    overall_score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_boundary_iou: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_boundary_f_score: Option<f64>,
    images: usize,
    pixels: u64,
    skipped: usize,
    convention: String,
    /// Classes that neither occur nor were predicted.
    absent: usize,
    /// Names of the classes that occur in the labels, but in no prediction.
    never_predicted: Vec<String>,
    /// What predicting the most frequent class everywhere would score.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<Constant>,
    classes: Vec<Row>,
}

/// A prediction of one class everywhere.
#[derive(Debug, Serialize)]
struct Constant {
    class: String,
    pixel_accuracy: f64,
    mean_iou: f64,
}

/// One class.
#[derive(Debug, Serialize)]
struct Row {
    index: usize,
    label: u16,
    name: String,
    #[serde(flatten)]
    scores: ClassScores,
}

impl Report {
    pub(crate) fn new(tally: &Tally, convention: Convention, dataset: &Dataset) -> Self {
        let background = dataset.classes.iter().position(|class| class.values.contains(&0));
        let scores = Scores::by(convention, tally, background);
        let rows = dataset.classes.iter().zip(scores.classes).enumerate();
        let row = |(index, (class, scores)): (usize, (&segtool::data::Class, ClassScores))| Row {
            index,
            label: class.values[0],
            name: class.name.clone(),
            scores,
        };
        // nnU-Net's means are over the scores of single images.
        let baseline = Baseline::new(&tally.matrix, convention.absent()).filter(|_| convention != Convention::Nnunet);
        let constant = |Baseline { class, pixel_accuracy, mean_iou }| Constant {
            class: dataset.classes[class].name.clone(),
            pixel_accuracy,
            mean_iou,
        };
        let names = |classes: Vec<usize>| classes.into_iter().map(|i| dataset.classes[i].name.clone()).collect();
        Self {
            pixel_accuracy: scores.pixel_accuracy,
            mean_class_accuracy: scores.mean_class_accuracy,
            mean_iou: scores.mean_iou,
            frequency_weighted_iou: scores.frequency_weighted_iou,
            mean_dice: scores.mean_dice,
            kappa: scores.kappa,
            overall_score: scores.overall_score,
            mean_boundary_iou: scores.mean_boundary_iou,
            mean_boundary_f_score: scores.mean_boundary_f_score,
            images: tally.images,
            pixels: scores.pixels,
            skipped: tally.skipped,
            convention: convention.to_string(),
            absent: tally.matrix.areas().iter().filter(|areas| areas.label + areas.prediction == 0).count(),
            never_predicted: names(tally.matrix.never_predicted()),
            baseline: baseline.map(constant),
            classes: rows.map(row).collect(),
        }
    }

    /// What the command line asks for on standard output.
    pub(super) fn text(mut self, arguments: &Metrics) -> Result<String> {
        if arguments.sort.is_some() || arguments.worst_first {
            self.sort(arguments.sort.unwrap_or(Column::Iou), arguments.worst_first);
        }
        if arguments.json {
            Ok(serde_json::to_string_pretty(&self)?)
        } else if arguments.csv {
            self.csv()
        } else {
            Ok(self.table())
        }
    }

    /// The best first (for names and indices: the first), or the worst; classes without a score last.
    fn sort(&mut self, column: Column, worst_first: bool) {
        let score = |row: &Row| match column {
            Column::Iou => row.scores.iou,
            Column::Dice => row.scores.dice,
            Column::Accuracy => row.scores.accuracy,
            Column::Precision => row.scores.precision,
            Column::Pixels => Some(row.scores.pixels as f64),
            Column::Index | Column::Name => Some(-(row.index as f64)),
        };
        let order = |a: &Row, b: &Row| match (score(a), score(b)) {
            _ if column == Column::Name => a.name.cmp(&b.name),
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let turned = |a: &Row, b: &Row| match (score(a), score(b)) {
            (Some(_), Some(_)) if worst_first => order(b, a),
            _ => order(a, b),
        };
        self.classes.sort_by(|a, b| turned(a, b).then(a.index.cmp(&b.index)));
    }

    /// The table; its last two lines are those of the Capstone's script.
    pub(crate) fn table(&self) -> String {
        let widths = self.classes.iter().map(|row| ui::one_line(&row.name).chars().count());
        let wide = widths.max().unwrap_or(0).clamp(5, WIDEST_NAME);
        let boundary = self.mean_boundary_iou.is_some();
        let mut lines = vec![format!("{:wide$}     IoU    Dice  accuracy  precision        pixels", "class")];
        if boundary {
            lines[0].push_str("  boundary IoU  boundary F");
        }
        for Row { name, scores, .. } in &self.classes {
            let [iou, dice, accuracy, precision] =
                [scores.iou, scores.dice, scores.accuracy, scores.precision].map(fixed);
            let name = ui::one_line(name);
            let mut line = format!("{name:wide$}  {iou}  {dice}    {accuracy}     {precision}  {:>12}", scores.pixels);
            if boundary {
                let [iou, f_score] = [scores.boundary_iou, scores.boundary_f_score].map(fixed);
                line.push_str(&format!("        {iou}      {f_score}"));
            }
            lines.push(line);
        }
        lines.push(format!(
            "{}, {} skipped, {}",
            counted(self.images, "image"),
            self.skipped,
            counted(self.pixels as usize, "labelled pixel")
        ));
        lines.extend(self.absent_line());
        let never = self.never_predicted.iter().map(String::as_str);
        lines.extend(
            classes_that(never, ["occurs in the labels, but is never", "occur in the labels, but are never"])
                .map(|classes| format!("{classes} predicted")),
        );
        let [iou, f_score] = [self.mean_boundary_iou, self.mean_boundary_f_score];
        let means = [
            ("mean class accuracy", Some(self.mean_class_accuracy)),
            ("frequency-weighted IoU", Some(self.frequency_weighted_iou)),
            ("mean Dice", Some(self.mean_dice)),
            ("kappa", Some(self.kappa)),
            ("overall score", Some(self.overall_score)),
            ("mean boundary IoU", iou),
            ("mean boundary F-score", f_score),
        ];
        lines.extend(means.iter().filter_map(|(name, mean)| mean.map(|mean| format!("{name:22}  {mean:.6}"))));
        lines.extend(self.baseline.as_ref().map(|baseline| {
            format!(
                "baseline, '{}' everywhere: pixel accuracy {:.4}, mean IoU {:.4}",
                ui::one_line(&baseline.class),
                baseline.pixel_accuracy,
                baseline.mean_iou
            )
        }));
        lines.push(format!("Mean Accuracy is {:.6}", self.pixel_accuracy));
        lines.push(format!("Mean IOU is {:.6}", self.mean_iou));
        lines.join("\n")
    }

    fn absent_line(&self) -> Option<String> {
        let convention: Convention = self.convention.parse().ok()?;
        let how = match (convention, convention.absent()) {
            (Convention::Nnunet, _) => "make the means NaN",
            (_, AbsentClass::Zero) => "count as 0 in the means (but not with --convention mmseg)",
            (_, AbsentClass::LeftOut) => "are left out of the means",
        };
        (self.absent > 0).then(|| {
            format!("{} of {} classes neither occur nor were predicted; they {how}", self.absent, self.classes.len())
        })
    }

    fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut header = vec!["index", "label", "name", "iou", "dice", "accuracy", "precision", "pixels"];
        if self.mean_boundary_iou.is_some() {
            header.extend(["boundary_iou", "boundary_f_score"]);
        }
        csv.write_record(&header)?;
        for Row { index, label, name, scores } in &self.classes {
            let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
            let mut record = vec![index.to_string(), label.to_string(), name.clone()];
            record.extend([scores.iou, scores.dice, scores.accuracy, scores.precision].map(number));
            record.push(scores.pixels.to_string());
            if self.mean_boundary_iou.is_some() {
                record.extend([scores.boundary_iou, scores.boundary_f_score].map(number));
            }
            csv.write_record(&record)?;
        }
        let text = String::from_utf8(csv.into_inner()?)?;
        Ok(text.trim_end().to_owned())
    }
}

fn fixed(value: Option<f64>) -> String {
    value.map_or_else(|| "     -".into(), |value| format!("{value:.4}"))
}

/// Refuses, before any work, files that could not be written after it.
pub(super) fn check_targets(arguments: &Metrics) -> Result<()> {
    if let Some(path) = &arguments.confusion {
        kind(path)?;
    }
    let Metrics { confusion, partial, per_image, .. } = arguments;
    refuse_same_file(&[(per_image, "--per-image"), (partial, "--partial"), (confusion, "--confusion")])?;
    Ok([confusion, partial, per_image].into_iter().flatten().try_for_each(|path| check_writable(path))?)
}

/// Refuses, before any work, an image of a matrix that nobody could look at.
pub(super) fn check_classes(arguments: &Metrics, classes: usize) -> Result<()> {
    match &arguments.confusion {
        Some(path) if classes > MOST_DRAWN && matches!(kind(path)?, Kind::Png) => {
            wrong_usage!(
                "--confusion {}: {classes} classes are too many for an image; use .csv or .npy",
                path.display()
            )
        }
        _ => Ok(()),
    }
}

/// The files that the command line asks for.
pub(super) fn write_files(arguments: &Metrics, partial: &Partial) -> Result<()> {
    if let Some(path) = &arguments.partial {
        partial.write(path)?;
    }
    let Some(path) = &arguments.confusion else { return Ok(()) };
    let matrix = &partial.tally.matrix;
    let names: Vec<String> = partial.dataset.classes.iter().map(|class| class.name.clone()).collect();
    match kind(path)? {
        Kind::Png => write_png(path, &confusion_image(matrix, &names))?,
        Kind::Csv => write_confusion_csv(path, matrix, &names)?,
        Kind::Npy => {
            let classes = matrix.classes();
            let counts: Vec<u64> = (0..classes).flat_map(|t| (0..=classes).map(move |p| matrix.at(t, p))).collect();
            write_count_npy(path, [classes, classes + 1], &counts)?;
        }
    }
    Ok(())
}

/// The file types of `--confusion`.
enum Kind {
    Png,
    Csv,
    Npy,
}

fn kind(path: &Path) -> Result<Kind> {
    match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("png") => Ok(Kind::Png),
        Some("csv") => Ok(Kind::Csv),
        Some("npy") => Ok(Kind::Npy),
        _ => wrong_usage!("--confusion {}: the name must end in .png, .csv or .npy", path.display()),
    }
}

/// Each label's pixels shared out over the predictions. Those predicted as no class are missing from the row.
fn confusion_image(matrix: &ConfusionMatrix, names: &[String]) -> RgbImage {
    let areas = matrix.areas();
    // Of a label that does not occur, 0 / 0: not a number, which is drawn as a grey row.
    let share = |label: usize, prediction: usize| matrix.at(label, prediction) as f64 / areas[label].label as f64;
    let classes = 0..matrix.classes();
    let shares: Vec<f64> =
        classes.clone().flat_map(|t| classes.clone().map(move |p| (t, p))).map(|(t, p)| share(t, p)).collect();
    heatmap(names, &shares, "")
}

/// One row a label, one column a prediction; the last column is for predictions that are no class.
fn write_confusion_csv(path: &Path, matrix: &ConfusionMatrix, names: &[String]) -> Result<()> {
    write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        let header = std::iter::once("label").chain(names.iter().map(String::as_str)).chain(["no class"]);
        csv.write_record(header)?;
        for (label, name) in names.iter().enumerate() {
            let counts = (0..=matrix.classes()).map(|prediction| matrix.at(label, prediction).to_string());
            csv.write_record(std::iter::once(name.clone()).chain(counts))?;
        }
        csv.flush()
    })
    .map_err(Error::into)
}
