//! `report.html`: what came of a training, in one file that asks the network for nothing.

mod forest;
mod ranking;

pub(crate) use chart::curve_panels;
pub use forest::{ClassReport, ForestReport, Importance};
pub use ranking::{ImageRanking, RankedImage, write_images};

mod chart;
mod review;
mod samples;
pub(crate) mod tables;
pub(crate) mod text;

use std::path::Path;
use std::time::SystemTime;

pub use review::Review;
pub use samples::{Gallery, SamplePrediction};

use crate::base::files::write_bytes;
use crate::base::markup::escaped;
use crate::base::named_enum::classes_that;
use crate::base::words::count;
use crate::base::{Error, Result};
use crate::draw::Classes;
use crate::metric::{AbsentClass, Baseline, ConfusionMatrix, Scores};
use crate::run::{NetworkRunConfig, Row, utc};
use text::{duration, filled, score};

const PAGE: &str = include_str!("page.html");
const VIEWER: &str = include_str!("viewer.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// How far a training has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All epochs are done, or the last phase was cut short for want of progress.
    Finished,
    /// It was asked to stop in this epoch, from 1.
    Stopped(usize),
    /// It is in this epoch, from 1.
    Running(usize),
}

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What the run was made with.
    pub config: &'a NetworkRunConfig,
    /// Its epochs.
    pub rows: &'a [Row],
    /// The epoch of the best weights, from 1, where there are scores.
    pub best_epoch: Option<usize>,
    /// Counts of the best weights on the validation set, where they are known.
    pub matrix: Option<&'a ConfusionMatrix>,
    /// Predictions of the best weights.
    pub samples: &'a [SamplePrediction],
    /// Images to train on and to validate with.
    pub images: (usize, usize),
    /// How far it has come.
    pub status: Status,
    /// When the report is made.
    pub written: SystemTime,
}

/// A report of any kind of run.
pub(crate) struct Page<'a> {
    /// The recipe's name, and what it is.
    pub(crate) title: (&'a str, &'a str),
    /// How it ended.
    pub(crate) status: &'a str,
    /// What the run was made with.
    pub(crate) facts: &'a [(&'a str, String)],
    /// The main figures.
    pub(crate) tiles: &'a str,
    /// Everything between these and the settings.
    pub(crate) sections: &'a str,
}

impl Page<'_> {
    /// The file's text, with recipe and data set as settings.
    pub(crate) fn html(&self, recipe: &impl serde::Serialize, dataset: &impl serde::Serialize) -> Result<String> {
        let fact = |(name, value): &(&str, String)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(value));
        let values = [
            ("style", STYLE),
            ("script", SCRIPT),
            ("name", &escaped(self.title.0)),
            ("summary", &escaped(self.title.1)),
            ("status", self.status),
            ("facts", &self.facts.iter().map(fact).collect::<String>()),
            ("tiles", self.tiles),
            ("sections", self.sections),
            ("recipe", &escaped(&as_toml(recipe)?)),
            ("dataset", &escaped(&as_toml(dataset)?)),
        ];
        Ok(filled(PAGE, &values))
    }
}

impl Report<'_> {
    /// Writes the file, atomically.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_bytes(path, self.html()?.as_bytes())
    }

    /// The file's text.
    pub fn html(&self) -> Result<String> {
        let classes = Classes::of(&self.config.dataset);
        let recipe = &self.config.recipe;
        let page = Page {
            title: (&recipe.name, &recipe.summary),
            status: &self.status(),
            facts: &self.facts(),
            tiles: &self.tiles(),
            sections: &(section("training", "Training", &self.curves())
                + &self.scores(&classes)?
                + &viewer("Predictions", "", self.samples, &classes)?),
        };
        page.html(recipe, &self.config.dataset)
    }

    fn status(&self) -> String {
        let epochs = self.config.recipe.training.all_epochs();
        match self.status {
            Status::Finished => "finished".into(),
            Status::Stopped(epoch) => format!("stopped in epoch {epoch} of {epochs}"),
            Status::Running(epoch) => format!("training, epoch {epoch} of {epochs}"),
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let NetworkRunConfig { recipe, dataset, .. } = self.config;
        let title = if dataset.title.is_empty() { String::new() } else { format!(": {}", dataset.title) };
        let (train, validation) = self.images;
        let mut facts = vec![
            ("data set", format!("{}{title}", dataset.name)),
            ("classes", dataset.class_count().to_string()),
            ("images", format!("{} to train on, {} for validation", count(train as u64), count(validation as u64))),
            ("device", format!("{}, {}", self.config.device, recipe.training.precision)),
            ("seed", self.config.seed.to_string()),
        ];
        if !self.config.weights.is_empty() {
            let files: Vec<String> = self.config.weights.iter().map(|path| path.display().to_string()).collect();
            facts.push(("initial weights", files.join(", ")));
        }
        facts.extend(self.config.started.as_ref().map(|started| ("started", readable(started))));
        facts.push(("report made", readable(&utc(self.written))));
        facts.push(("segtool", self.config.version.clone()));
        facts
    }

    /// The epoch that the best weights are of, or the last where there are no scores.
    fn best(&self) -> Option<&Row> {
        self.rows.iter().find(|row| Some(row.epoch) == self.best_epoch).or(self.rows.last())
    }

    fn tiles(&self) -> String {
        let seconds = self.rows.iter().map(|row| row.seconds).sum();
        let Some(best) = self.best() else {
            return tile("epochs done", "0") + &tile("status", &self.status());
        };
        let validated = best.mean_iou().is_some();
        let epoch = format!("{} of {}", best.epoch, self.rows.len());
        let mut tiles = tile(if self.best_epoch.is_some() { "best epoch" } else { "last epoch" }, &epoch);
        if validated {
            tiles += &tile("mean IoU", &score(best.mean_iou()));
            tiles += &tile("pixel accuracy", &score(best.pixel_accuracy()));
        }
        if best.validation_loss.is_some() {
            tiles += &tile("validation loss", &score(best.validation_loss));
        }
        let speed = self.rows.last().map(|row| row.images_per_second).filter(|speed| speed.is_finite());
        tiles += &tile("training loss", &score(Some(best.train_loss)));
        tiles += &tile("training time", &duration(seconds));
        tiles + &tile("images per second", &speed.map_or_else(|| score(None), |speed| format!("{speed:.1}")))
    }

    fn curves(&self) -> String {
        if self.rows.is_empty() {
            return note("No epoch is complete yet.");
        }
        format!(r#"<div class="charts">{}</div>"#, chart::charts(self.rows))
    }

    fn scores(&self, classes: &Classes) -> Result<String> {
        let Some(matrix) = self.matrix.filter(|matrix| matrix.classes() == classes.names.len()) else {
            return Ok(section("classes", "Classes", &note(self.why_no_scores())));
        };
        let scores = Scores::new(matrix, AbsentClass::LeftOut);
        let means = format!(
            "<p>Over {} labelled pixels of the validation set: mean class accuracy {}, mean F1 {}, \
             frequency-weighted IoU {}, Cohen's kappa {}. Classes that neither occur nor were predicted are left out of means.{}</p>",
            count(scores.pixels),
            score(Some(scores.mean_class_accuracy)),
            score(Some(scores.mean_dice)),
            score(Some(scores.frequency_weighted_iou)),
            score(Some(scores.kappa)),
            baseline(matrix, classes)
        ) + &never_predicted(matrix, classes);
        let table = format!(r#"{means}<div class="scroll tall">{}</div>"#, tables::class_table(matrix, classes));
        let confusion = format!(
            r#"<p>Each row shows how the pixels of one label were predicted, in per cent.</p>
<div class="scroll tall">{}</div>
<h3>Largest confusions</h3>
<div class="scroll">{}</div>"#,
            tables::confusion(matrix, classes)?,
            tables::confusions(matrix, classes)
        );
        Ok(section("classes", "Classes", &table) + &section("confusion", "Confusion matrix", &confusion))
    }

    fn why_no_scores(&self) -> &'static str {
        if self.images.1 == 0 {
            "There is no validation set, so nothing was scored."
        } else if self.rows.is_empty() {
            "No epoch has been validated yet."
        } else if self.best_epoch.is_none() {
            "No validation gave a finite loss and scores, so there is nothing to show."
        } else {
            "The best weights have not been scored since the training was resumed; they will be when it finishes, or with \
             segtool metrics --run."
        }
    }
}

/// Images, labels and predictions to page through, if there are any.
fn viewer(title: &str, intro: &str, samples: &[SamplePrediction], classes: &Classes) -> Result<String> {
    if samples.is_empty() {
        return Ok(String::new());
    }
    let viewer = filled(VIEWER, &[("data", &samples::sample_data(samples, classes)?)]);
    Ok(section("samples", title, &format!("{intro}{viewer}")))
}

/// A sentence on what predicting one class everywhere would score.
fn baseline(matrix: &ConfusionMatrix, classes: &Classes) -> String {
    let sentence = |Baseline { class, pixel_accuracy, mean_iou }| {
        format!(
            " Predicting {} everywhere would give a pixel accuracy of {} and a mean IoU of {}.",
            escaped(&classes.names[class]),
            score(Some(pixel_accuracy)),
            score(Some(mean_iou))
        )
    };
    Baseline::new(matrix, AbsentClass::LeftOut).map_or_else(String::new, sentence)
}

/// A sentence on the classes that occur and are never predicted, if there are any.
fn never_predicted(matrix: &ConfusionMatrix, classes: &Classes) -> String {
    let names = matrix.never_predicted().into_iter().map(|class| classes.names[class].as_str());
    let sentence = classes_that(names, ["occurs in the labels, but is", "occur in the labels, but are"]);
    sentence.map_or_else(String::new, |classes| note(&format!("{classes} never predicted.")))
}

pub(crate) fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{content}\n</section>\n")
}

pub(crate) fn note(text: &str) -> String {
    format!(r#"<p class="note">{}</p>"#, escaped(text))
}

pub(crate) fn tile(name: &str, value: &str) -> String {
    format!(r#"<div class="tile"><b>{}</b><span>{name}</span></div>"#, escaped(value))
}

fn as_toml(value: &impl serde::Serialize) -> Result<String> {
    toml::to_string(value).map_err(|e| Error::failed("write the settings", e))
}

/// A time of [`utc`] for people.
fn readable(time: &str) -> String {
    time.replace('T', " ").replace('Z', " UTC")
}
