//! What came of a training: `scores.json`, and `report.html` to look at.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tables::{class_table, confusion};
use super::text::{duration, score};
use super::{Page, SamplePrediction, section, tile, viewer};
use crate::base::files::write_bytes;
use crate::base::markup::escaped;
use crate::base::named_enum::classes_that;
use crate::base::words::{count, per_cent};
use crate::base::{Error, Result};
use crate::data::REGION_FOLDS as FOLDS;
use crate::draw::Classes;
use crate::metric::Evaluation;
use crate::run::{ForestRun, ForestRunConfig};

/// Labels of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Labelled pixels.
    pub pixels: usize,
    /// Connected regions that they make.
    pub regions: usize,
}

/// What a tap, or one of its channels, contributes to the forest: mean decrease of impurity, of 1 in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The tap, with its scale and channel.
    pub name: String,
    /// Features that count in it.
    pub channels: usize,
    /// Their share.
    pub importance: f64,
}

/// What is shown beside the classification of the images that were learnt from.
const LEARNT: &str = "<p>The forest has learnt from these labels, so almost all of them are right here: look at the pixels \
                      between them. F1 by region tells what to expect elsewhere.</p>";

/// What a score is of.
fn explained(name: &str) -> String {
    match name {
        "by region" => format!(
            "connected regions of labels were held out, each once, in {FOLDS} folds, and classified by forests that had not seen them"
        ),
        "by pixel" => {
            "single labelled pixels were held out, but their neighbours, which look alike, were learnt from, so this score \
                       is too optimistic for other places"
                .into()
        }
        "out of bag" => "every pixel was classified by the trees that had not drawn it; its neighbours were learnt from, so this score is also too optimistic for other places".into(),
        _ => "further images were classified by the forest that was kept".into(),
    }
}

/// Scores, feature importances and timings of a forest's training, as `scores.json` holds them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ForestReport {
    /// Labels of the classes.
    pub classes: Vec<ClassReport>,
    /// Score on connected regions that were held out, each once.
    pub by_region: Option<Evaluation>,
    /// Score on single pixels that were held out.
    pub by_pixel: Option<Evaluation>,
    /// Score of the forest that was kept on further images.
    pub validation: Option<Evaluation>,
    /// Score of the trees on the pixels that they did not see.
    pub out_of_bag: Option<Evaluation>,
    /// Importances by tap, in the order of the features.
    pub importances: Vec<Importance>,
    /// The most important features.
    pub strongest: Vec<Importance>,
    /// Features of a pixel.
    pub features: usize,
    /// Labelled pixels.
    pub labelled_pixels: usize,
    /// Pixels that were learnt from.
    pub pixels: usize,
    /// Trees of the forest.
    pub trees: usize,
    /// Their splits.
    pub splits: usize,
    /// Seconds to compute the features of labelled pixels.
    pub feature_seconds: f64,
    /// Seconds to fit the forest that was kept.
    pub fit_seconds: f64,
}

impl ForestReport {
    /// The scores there are, with what they are on.
    pub fn evaluations(&self) -> Vec<(&'static str, &Evaluation)> {
        let all = [
            ("by region", &self.by_region),
            ("by pixel", &self.by_pixel),
            ("validation", &self.validation),
            ("out of bag", &self.out_of_bag),
        ];
        all.into_iter().filter_map(|(name, found)| Some((name, found.as_ref()?))).collect()
    }

    /// A table of F1 scores, a line a class.
    pub fn table(&self) -> Vec<String> {
        let evaluations = self.evaluations();
        let width = self.classes.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).max(7);
        let line = |name: &str, pixels: String, regions: String, scores: Vec<Option<f64>>| {
            let mut line = format!("{name:width$}  {pixels:>9}  {regions:>7}");
            for ((head, _), score) in evaluations.iter().zip(scores) {
                let text = score.map_or_else(|| "-".to_owned(), |score| format!("{score:.4}"));
                let _ = write!(line, "  {text:>w$}", w = head.len());
            }
            line
        };
        let mut lines = vec![format!("{:width$}  {:>9}  {:>7}", "F1", "pixels", "regions")];
        evaluations.iter().for_each(|(head, _)| _ = write!(lines[0], "  {head}"));
        for (i, class) in self.classes.iter().enumerate() {
            let scores = evaluations.iter().map(|(_, found)| found.f1[i]).collect();
            lines.push(line(&class.name, count(class.pixels as u64), class.regions.to_string(), scores));
        }
        let regions: usize = self.classes.iter().map(|class| class.regions).sum();
        let means = evaluations.iter().map(|(_, found)| found.mean_f1).collect();
        lines.push(line("mean", count(self.labelled_pixels as u64), regions.to_string(), means));
        for (name, found) in &evaluations {
            let never = found.never_predicted.iter().map(|class| self.classes[*class].name.as_str());
            let sentence = classes_that(never, ["occurs in the labels, but is", "occur in the labels, but are"]);
            lines.extend(sentence.map(|classes| format!("{name}: {classes} never predicted")));
        }
        lines
    }

    /// With the confusion matrices that files hold as plain counts. `path` is the file, of a run of that many classes.
    ///
    /// # Errors
    ///
    /// If it is of other classes, or damaged.
    pub(crate) fn restored(mut self, path: &Path, classes: usize) -> Result<Self> {
        let mut fits = self.classes.len() == classes;
        let all = [&mut self.by_region, &mut self.by_pixel, &mut self.validation, &mut self.out_of_bag];
        for found in all.into_iter().flatten() {
            let counts = &found.confusion;
            let sum = counts.iter().flatten().try_fold(0u64, |sum, count| sum.checked_add(*count));
            fits &= counts.len() == classes && counts.iter().all(|row| row.len() == classes) && sum.is_some();
            if fits {
                *found = Evaluation::of_counts(counts);
            }
        }
        let reason = || {
            format!(
                "its scores are not those of the {classes} classes in the run's config.json; they do not belong together, or \
                 the file is damaged; copy the run again, or train again"
            )
        };
        if fits { Ok(self) } else { Err(Error::content(path, reason())) }
    }

    /// Writes the page of a run, with `samples` of its images, to `path`.
    pub(crate) fn write_html(&self, run: &ForestRun, path: &Path, samples: &[SamplePrediction]) -> Result<()> {
        let classes = Classes::of(&run.config.dataset);
        let recipe = &run.config.recipe;
        let page = Page {
            title: (&recipe.name, &recipe.summary),
            status: "finished",
            facts: &self.facts(&run.config),
            tiles: &self.tiles(),
            sections: &(self.labels()
                + &viewer("Labels and classification", LEARNT, samples, &classes)?
                + &self.scores(&classes)?
                + &self.shares()),
        };
        write_bytes(path, page.html(recipe, &run.config.dataset)?.as_bytes())
    }

    fn facts(&self, config: &ForestRunConfig) -> Vec<(&'static str, String)> {
        let files: Vec<String> = config.weights.iter().map(|path| path.display().to_string()).collect();
        let weights = if files.is_empty() { "random".to_owned() } else { files.join(", ") };
        let features = format!("{} of {}", self.features, config.recipe.features.encoder);
        let forest = format!("{} trees, {} splits", count(self.trees as u64), count(self.splits as u64));
        vec![
            ("data set", config.dataset.name.clone()),
            ("features", features),
            ("weights", weights),
            ("forest", forest),
            ("time for features", duration(self.feature_seconds)),
            ("time for the forest", duration(self.fit_seconds)),
            ("device", config.device.clone()),
            ("seed", config.seed.to_string()),
            ("made", config.started.as_deref().map_or_else(String::new, super::readable)),
            ("segtool", config.version.clone()),
        ]
    }

    fn tiles(&self) -> String {
        let means = self.evaluations().into_iter().map(|(name, found)| match name {
            "out of bag" => tile("out-of-bag error", &score(Some(1.0 - found.accuracy))),
            name => tile(&format!("mean F1 {name}"), &score(found.mean_f1)),
        });
        means.collect::<String>() + &tile("training pixels", &count(self.pixels as u64))
    }

    /// Labels and F1 of the classes.
    fn labels(&self) -> String {
        let evaluations = self.evaluations();
        let heads: String = evaluations.iter().map(|(name, _)| format!(r#"<th scope="col">F1 {name}</th>"#)).collect();
        let mut rows = String::new();
        for (i, class) in self.classes.iter().enumerate() {
            let cell = |found: &Evaluation| format!(r#"<td class="number">{}</td>"#, score(found.f1[i]));
            let cells: String = evaluations.iter().map(|(_, found)| cell(found)).collect();
            let (pixels, regions) = (count(class.pixels as u64), count(class.regions as u64));
            let _ = writeln!(
                rows,
                r#"<tr><td>{}</td><td class="number">{pixels}</td><td class="number">{regions}</td>{cells}</tr>"#,
                escaped(&class.name)
            );
        }
        let mean = |found: &Evaluation| format!(r#"<td class="number"><b>{}</b></td>"#, score(found.mean_f1));
        let means: String = evaluations.iter().map(|(_, found)| mean(found)).collect();
        let kinds: String =
            evaluations.iter().map(|(name, _)| format!("<li>F1 {name}: {}</li>", explained(name))).collect();
        let table = format!(
            r#"<p>The forest that was kept learnt from all labelled pixels. Means are over the classes that have a score.</p>
<ul>{kinds}</ul>
<div class="scroll"><table><thead><tr><th scope="col">class</th><th scope="col">labelled pixels</th><th scope="col">regions</th>{heads}</tr></thead>
<tbody>{rows}<tr><td><b>mean</b></td><td class="number">{}</td><td></td>{means}</tr></tbody></table></div>"#,
            count(self.labelled_pixels as u64)
        );
        section("labels", "F1 by class", &table)
    }

    /// Tables of every score there is.
    fn scores(&self, classes: &Classes) -> Result<String> {
        let mut sections = String::new();
        for (name, found) in self.evaluations().into_iter().filter(|(_, found)| found.pixels > 0) {
            let content = format!(
                r#"<p>{} pixels, {} of them classified correctly.</p><div class="scroll">{}</div>
<h3>Confusion matrix</h3><p>Each row shows how the pixels of one label were predicted, in per cent.</p>
<div class="scroll">{}</div>"#,
                count(found.pixels),
                per_cent((found.accuracy * found.pixels as f64).round() as u64, found.pixels),
                class_table(&found.matrix, classes),
                confusion(&found.matrix, classes)?
            );
            sections += &section(&name.replace(' ', "-"), &format!("Scores {name}"), &content);
        }
        Ok(sections)
    }

    fn shares(&self) -> String {
        let row = |Importance { name, channels, importance }: &Importance| {
            format!(
                r#"<tr><td>{}</td><td class="number">{channels}</td><td class="number bar" style="--share:{importance:.4}">{:.1} %</td></tr>"#,
                escaped(name),
                100.0 * importance
            )
        };
        let table = |title: &str, entries: &[Importance]| {
            format!(
                r#"<h3>{title}</h3><div class="scroll"><table><thead><tr><th scope="col">tap</th><th scope="col">features</th><th scope="col">importance</th></tr></thead>
<tbody>{}</tbody></table></div>"#,
                entries.iter().map(row).collect::<String>()
            )
        };
        let content = format!(
            "<p>Mean decrease of impurity by splits on the features, as shares of the whole. To see what a channel shows: \
             <code>segtool info --features IMAGE --run RUN --tap TAP --channel N</code></p>{}{}",
            table("By tap", &self.importances),
            table("The most important features", &self.strongest)
        );
        section("importances", "Importances", &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_other_classes_are_refused() {
        let scores = |confusion: &[Vec<u64>]| {
            let found =
                Evaluation { confusion: confusion.to_vec(), ..Evaluation::of_counts(&[vec![1, 0], vec![0, 1]]) };
            let classes = ["a", "b"].map(|name| ClassReport { name: name.into(), pixels: 1, regions: 1 }).to_vec();
            let report = ForestReport { classes, validation: Some(found), ..ForestReport::default() };
            report.restored(Path::new("scores.json"), 2)
        };
        let found = scores(&[vec![3, 1], vec![0, 4]]).unwrap().validation.unwrap();
        assert_eq!((found.pixels, found.matrix.at(0, 1)), (8, 1));
        let wrong = [&[vec![1], vec![2]][..], &[vec![1, 0]], &[vec![u64::MAX, 1], vec![0, 1]]];
        for confusion in wrong {
            assert_refused!(scores(confusion), "scores.json: its scores are not those of the 2 classes");
        }
    }
}
