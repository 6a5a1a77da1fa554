//! Folders of images turned grey.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::base::event::{Event, Sink, Stretch, Task};
use crate::base::files::{create_folder, folder_of, refuse_equal_outputs, write_bytes_unsynced};
use crate::base::inputs::ReadFiles;
use crate::base::named_enum::named_enum;
use crate::base::{Error, Remedy, Result};
use crate::image::{
    AlphaBand, GrayConverter, GrayMethod, Image, Pixels, Sample, Samples, encode_marked_png, keep_place, maker_of,
    read_image, report_notes, stretch,
};

/// What the files say made them, before how: in a folder of images, a grey one is told from an image or a label image by it.
const MAKER: &str = "segtool rgb2gray ";

/// Whether a file was made here, from another.
fn is_own(path: &Path) -> bool {
    maker_of(path).is_some_and(|maker| maker.starts_with(MAKER))
}

/// What happens to transparent pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alpha {
    /// They are laid over black.
    #[default]
    Black,
    /// They are laid over white.
    White,
    /// Their colours are taken as they are stored.
    Ignore,
}

named_enum!(Alpha, "treatment of alpha", "black" => Black, "white" => White, "ignore" => Ignore);

/// How images are turned grey.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The formula.
    pub method: GrayMethod,
    /// Whether each image is stretched to its own darkest and lightest grey.
    pub stretch: bool,
    /// What happens to transparent pixels.
    pub alpha: Alpha,
    /// Whether files that are there already are made again.
    pub overwrite: bool,
}

impl Options {
    /// What the files say made them.
    fn mark(&self) -> String {
        let Self { method, stretch, alpha, .. } = self;
        format!("{MAKER}{method}, over {alpha}{}", if *stretch { ", stretched" } else { "" })
    }
}

/// An image and the PNG that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The image.
    pub input: PathBuf,
    /// Where the grey one goes.
    pub output: PathBuf,
}

/// What became of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Grey images written.
    pub written: usize,
    /// Grey images that were there already and were kept.
    pub kept: usize,
    /// Of these, such as were made with other options, or not here.
    pub others: usize,
    /// Images left out because their grey images would overwrite them.
    pub in_place: usize,
    /// Images that could not be used.
    pub skipped: usize,
}

/// Turns images of any depth grey; one for all threads.
pub struct Gray {
    options: Options,
    eight: OnceLock<GrayConverter<256>>,
    sixteen: OnceLock<GrayConverter<65536>>,
}

impl Gray {
    /// With the options of a batch.
    pub fn new(options: Options) -> Self {
        Self { options, eight: OnceLock::new(), sixteen: OnceLock::new() }
    }

    /// The grey image as a PNG file: 8 bits a sample, 16 where the image has more. A grey image keeps its samples.
    pub fn encode(&self, input: &Path) -> Result<Vec<u8>> {
        let gray = self.gray(input, read_image(input)?)?;
        let floats = || Error::content(input, "a float image stayed a float image");
        encode_marked_png(gray.size, Pixels::gray(&gray.samples).ok_or_else(floats)?, &self.options.mark())
    }

    /// Pixels without data become black, and take no part in stretching.
    fn gray(&self, input: &Path, mut raster: Image) -> Result<Image> {
        let alpha = raster.alpha.take();
        // Transparent pixels are laid over the background.
        let nodata = raster.pixels_without_data(&[]);
        let Image { size, bands, samples, .. } = raster;
        if !matches!(bands, 1 | 3) {
            let reason =
                format!("has {bands} bands; rgb2gray takes red, green and blue, or grey; extract three bands first");
            return Err(Error::content(input, reason));
        }
        let fixed = |samples: Samples, bands: usize| match samples {
            Samples::F32(floats) => {
                sixteen_bits(input, &floats, size.width, bands, nodata.as_deref()).map(Samples::U16)
            }
            fixed => Ok(fixed),
        };
        let samples = fixed(samples, bands)?;
        let (alpha, associated) = match alpha {
            Some(AlphaBand { samples, associated, .. }) => (Some(fixed(samples, 1)?), associated),
            None => (None, false),
        };
        let samples = match (samples, alpha) {
            (Samples::U8(color), Some(Samples::U8(alpha))) => {
                Samples::U8(self.composed(color, &alpha, bands, associated))
            }
            (Samples::U16(color), Some(Samples::U16(alpha))) => {
                Samples::U16(self.composed(color, &alpha, bands, associated))
            }
            (_, Some(_)) => return Err(Error::content(input, "its alpha is of another sample type than its colours")),
            (samples, None) => samples,
        };
        let samples = match samples {
            Samples::U8(samples) => Samples::U8(self.mixed(samples, bands, nodata.as_deref(), &self.eight)),
            Samples::U16(samples) => Samples::U16(self.mixed(samples, bands, nodata.as_deref(), &self.sixteen)),
            floats @ Samples::F32(_) => floats,
        };
        Ok(Image::new(size, 1, samples))
    }

    fn mixed<T: Sample<LEVELS>, const LEVELS: usize>(
        &self,
        samples: Vec<T>,
        bands: usize,
        nodata: Option<&[bool]>,
        converter: &OnceLock<GrayConverter<LEVELS>>,
    ) -> Vec<T> {
        let converter = || converter.get_or_init(|| GrayConverter::new(self.options.method));
        let mut numbers = match (bands, self.options.stretch) {
            (1, false) => return blackened(samples, nodata),
            (_, false) => return blackened(converter().convert(&samples), nodata),
            (1, true) => samples.iter().map(|sample| sample.index() as f64).collect(),
            (_, true) => converter().numbers(&samples),
        };
        for (number, _) in numbers.iter_mut().zip(nodata.into_iter().flatten()).filter(|(_, nodata)| **nodata) {
            *number = f64::NAN;
        }
        stretch(&numbers)
    }

    /// Colours laid over the background, rounded: c a + b (1 - a), or c + b (1 - a) if they are multiplied already.
    fn composed<T: Sample<LEVELS>, const LEVELS: usize>(
        &self,
        color: Vec<T>,
        alpha: &[T],
        bands: usize,
        associated: bool,
    ) -> Vec<T> {
        let opaque = LEVELS - 1;
        let background = match self.options.alpha {
            Alpha::Ignore => return color,
            Alpha::Black => 0,
            Alpha::White => opaque,
        };
        color
            .iter()
            .enumerate()
            .map(|(i, sample)| {
                let alpha = alpha[i / bands].index();
                let front = sample.index() * if associated { opaque } else { alpha };
                T::round(((front + background * (opaque - alpha)) as f64 / opaque as f64).min(opaque as f64))
            })
            .collect()
    }
}

/// The samples with black for pixels without data.
fn blackened<T: Sample<LEVELS>, const LEVELS: usize>(mut samples: Vec<T>, nodata: Option<&[bool]>) -> Vec<T> {
    for (sample, _) in samples.iter_mut().zip(nodata.into_iter().flatten()).filter(|(_, nodata)| **nodata) {
        *sample = T::from_index(0);
    }
    samples
}

/// Samples from 0 to 1 as 16-bit ones; 0 for pixels without data.
fn sixteen_bits(path: &Path, samples: &[f32], width: usize, bands: usize, nodata: Option<&[bool]>) -> Result<Vec<u16>> {
    samples.iter().enumerate().map(|(i, &sample)| {
        if nodata.is_some_and(|nodata| nodata[i / bands]) {
            return Ok(0);
        }
        if (0.0..=1.0).contains(&sample) {
            return Ok(u16::round(f64::from(sample) * f64::from(u16::MAX)));
        }
        let (x, y) = (i / bands % width, i / bands / width);
        Err(Error::content(
            path,
            format!(
                "holds {sample} at pixel ({x}, {y}); samples that are neither 8 nor 16 bits wide must lie between 0 and 1, \
                 so scale the image first"
            ),
        ))
    }).collect()
}

/// Turns the images grey, on all threads of the rayon pool. An image that cannot be used is reported and left out; one
/// that cannot be written ends the work.
pub fn convert_files(jobs: &[Job], options: Options, sink: &dyn Sink) -> Result<Summary> {
    // What is there under the name of the result and is not the image itself.
    let found = |job: &Job| {
        job.output.canonicalize().ok().filter(|output| job.input.canonicalize().ok().as_ref() != Some(output))
    };
    let made: BTreeSet<PathBuf> = jobs.iter().filter_map(found).collect();
    // What is the result of another job is no input: with one folder for both, a second call finds the first one's.
    let is_made = |job: &Job| job.input.canonicalize().is_ok_and(|input| made.contains(&input));
    let is_there = |job: &Job| job.output.is_file() && job.input.exists();
    let (left_out, jobs_to_do): (Vec<&Job>, Vec<&Job>) =
        jobs.iter().partition(|job| if options.overwrite { is_made(job) && is_own(&job.input) } else { is_there(job) });
    let mut kept: BTreeSet<PathBuf> = left_out.iter().filter_map(|job| found(job)).collect();
    if options.overwrite {
        kept.clear();
    }
    let in_place = left_out.iter().filter(|job| found(job).is_none() && !is_made(job)).count();
    refuse_equal_outputs(jobs_to_do.iter().map(|job| (job.output.clone(), job.input.as_path())))?;
    refuse_inputs(jobs, &jobs_to_do)?;
    if let Some(job) = jobs_to_do.iter().find(|job| job.output.is_dir()) {
        let reason = format!("is a folder, but {} would be written there; choose another folder", job.input.display());
        return Err(Error::content(&job.output, reason));
    }
    for folder in folders(&jobs_to_do) {
        create_folder(folder)?;
    }
    let gray = Gray::new(options);
    let stretch = Stretch::begin(sink, Task::Gray, jobs_to_do.len());
    let skipped = AtomicUsize::new(0);
    jobs_to_do.par_iter().try_for_each(|job| -> Result<()> {
        match gray.encode(&job.input) {
            Ok(file) => {
                write_bytes_unsynced(&job.output, &file)?;
                keep_place(&job.input, &job.output)?;
            }
            Err(fault) => {
                skipped.fetch_add(1, Ordering::Relaxed);
                sink.event(Event::Skipped { path: job.input.clone(), reason: fault.to_string() });
            }
        }
        stretch.advance();
        Ok(())
    })?;
    drop(stretch);
    report_notes(sink);
    let (skipped, mark) = (skipped.into_inner(), options.mark());
    let others = kept.iter().filter(|output| maker_of(output).as_ref() != Some(&mark)).count();
    Ok(Summary { written: jobs_to_do.len() - skipped, kept: kept.len(), others, in_place, skipped })
}

/// Refuses to write over an image, or over a file beside it that may be its label image.
fn refuse_inputs(jobs: &[Job], jobs_to_do: &[&Job]) -> Result<()> {
    let inputs = ReadFiles::new(jobs.iter().map(|job| &job.input));
    for Job { input, output } in jobs_to_do.iter().filter(|job| job.output.is_file()) {
        ReadFiles::new([input]).refuse(output, "output")?;
        if is_own(output) {
            continue;
        }
        inputs.refuse(output, "output")?;
        if ReadFiles::new([folder_of(input)]).replaced_by(folder_of(output)).is_some() {
            let beside = input.display();
            let reason = format!(
                "lies beside {beside}, whose result would overwrite it, and was not made by rgb2gray: it may be \
                                  a label image"
            );
            return Err(Error::occupied(output, reason, [Remedy::Another("output")]));
        }
    }
    Ok(())
}

fn folders<'a>(jobs: &[&'a Job]) -> BTreeSet<&'a Path> {
    jobs.iter().filter_map(|job| job.output.parent()).filter(|folder| !folder.as_os_str().is_empty()).collect()
}
