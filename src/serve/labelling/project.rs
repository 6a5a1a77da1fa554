//! The labels of all images and their classes: in memory, and on disk before any change counts as made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::Serialize;
use tokio::sync::broadcast;

use super::classes::{self, LabelClass};
use super::events::LabelEvent;
use super::patch::{Patch, Rect};
use super::place::{ImageFile, Place};
use super::raster::Raster;
use super::store::{holds_values, read_values, write_dataset, write_labels, write_missing};
use super::table::write_table;
use crate::base::{Error, Result, locked};
use crate::data::Dataset;
use crate::run::RunLock;

/// Events that a slow page may be behind.
const BEHIND: usize = 1024;

/// The classes at a time.
#[derive(Debug, Clone, Serialize)]
pub struct Classes {
    /// Counts up with every change.
    pub revision: u64,
    /// The classes.
    pub classes: Vec<LabelClass>,
}

impl Classes {
    fn has(&self, value: u8) -> bool {
        self.classes.iter().any(|class| class.value == value)
    }

    /// Whether other classes have a colour that is new, or that of another value here.
    fn is_recolored_by(&self, next: &Self) -> bool {
        let same =
            |class: &LabelClass| self.classes.iter().any(|own| (own.value, own.color) == (class.value, class.color));
        !next.classes.iter().all(same)
    }
}

/// How a change went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patched {
    /// It is on disk; the revision that it made.
    Done(u64),
    /// Others have changed some of its pixels since: nothing is changed.
    Conflict {
        /// The revision now.
        revision: u64,
        /// Where.
        conflicts: Vec<Rect>,
    },
}

/// How a change of the classes went.
#[derive(Debug, Clone)]
pub enum Reclassed {
    /// It is on disk; the revision that it made.
    Done(u64),
    /// They were changed since, or a class that would go has pixels: nothing is changed. The classes now, and why not.
    Conflict(Classes, String),
}

/// One request of a page to change labels.
#[derive(Debug, Clone)]
pub struct Change {
    /// The revision that the page had seen.
    pub revision: u64,
    /// What the page calls itself.
    pub tab: String,
    /// New values.
    pub patches: Vec<Patch>,
}

/// The labels of all images.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) place: Place,
    /// What images are; its classes are of no account.
    base: Dataset,
    classes: RwLock<Classes>,
    rasters: Vec<Mutex<Raster>>,
    /// Whether no label image is left that is read by its colours.
    all_values: AtomicBool,
    events: broadcast::Sender<LabelEvent>,
    _lock: RunLock,
}

impl Project {
    /// Reads the labels that are there. `base` says what images are.
    pub(super) fn open(place: Place, classes: Vec<LabelClass>, base: Dataset, lock: RunLock) -> Result<Self> {
        // Labels are of images as they are turned now.
        let base = Dataset { samples: None, ..base }.trained_on(None);
        let dataset = classes::dataset(&classes, &base);
        // Later than all that an earlier program may have given to pages that are still open.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        let raster = |image: &ImageFile| {
            read_values(image, &dataset).map(|values| Mutex::new(Raster::new(image.size, values, now)))
        };
        let rasters = place.images.par_iter().map(raster).collect::<Result<_>>()?;
        let project = Self {
            place,
            base,
            classes: RwLock::new(Classes { revision: now, classes }),
            rasters,
            all_values: AtomicBool::new(false),
            events: broadcast::channel(BEHIND).0,
            _lock: lock,
        };
        if !project.place.dataset().exists() {
            write_dataset(&project.place.dataset(), &dataset)?;
        }
        Ok(project)
    }

    pub(super) fn events(&self) -> &broadcast::Sender<LabelEvent> {
        &self.events
    }

    pub(super) fn tell(&self, event: LabelEvent) {
        // An error says that nobody listens.
        let _ = self.events.send(event);
    }

    pub(super) fn classes(&self) -> RwLockReadGuard<'_, Classes> {
        self.classes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// An image by its index; an error that says how many there are.
    pub(super) fn image(&self, image: usize) -> Result<&ImageFile> {
        let count = self.place.images.len();
        self.place
            .images
            .get(image)
            .ok_or_else(|| Error::invalid("image", image, format!("below {count}, the number of images")))
    }

    /// The labels of an image, which must be there.
    pub(super) fn raster(&self, image: usize) -> MutexGuard<'_, Raster> {
        locked(&self.rasters[image])
    }

    /// The labels of an image and their revision.
    pub(super) fn labels(&self, image: usize) -> Result<(Arc<Vec<u8>>, u64)> {
        self.image(image)?;
        let raster = self.raster(image);
        Ok((raster.to_values(), raster.revision))
    }

    /// Changes the labels of an image; they are on disk when this returns.
    pub(super) fn change(&self, image: usize, change: &Change) -> Result<Patched> {
        let file = self.image(image)?;
        let classes = self.classes();
        for patch in &change.patches {
            patch.check(file.size, &|value| classes.has(value))?;
        }
        let mut raster = self.raster(image);
        // Of a revision that is yet to come, as after the clock was set back, nothing was seen.
        let seen = if change.revision > raster.revision { 0 } else { change.revision };
        let conflicts = raster.conflicts(&change.patches, seen, &change.tab);
        if !conflicts.is_empty() {
            return Ok(Patched::Conflict { revision: raster.revision, conflicts });
        }
        let changed = raster.patched(&change.patches);
        if !changed.is_some() {
            return Ok(Patched::Done(raster.revision));
        }
        write_labels(file, changed.values(), &classes.classes)?;
        let revision = raster.commit(changed, &change.tab);
        drop(raster);
        self.tell(LabelEvent::Labels { image, revision, tab: change.tab.clone() });
        Ok(Patched::Done(revision))
    }

    /// Gives every image a label image, as `segtool train` wants it, until `stop` is set.
    pub(super) fn complete(&self, stop: &AtomicBool) -> Result<()> {
        for (image, file) in self.place.images.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            // Held meanwhile, so that no first stroke is overwritten on disk.
            let _raster = self.raster(image);
            write_missing(file)?;
        }
        Ok(())
    }

    /// Puts other classes in the place of those of `revision`. A class that has pixels is dropped only with them.
    pub(super) fn reclass(&self, revision: u64, classes: Vec<LabelClass>, drop_pixels: bool) -> Result<Reclassed> {
        classes::check(&classes)?;
        let mut own = self.classes.write().unwrap_or_else(PoisonError::into_inner);
        if own.revision != revision {
            let reason = "the classes were changed in another tab; check them and repeat your change";
            return Ok(Reclassed::Conflict(own.clone(), reason.into()));
        }
        let next = Classes { revision: revision + 1, classes };
        let dropped = |value: u8| own.has(value) && !next.has(value);
        let labelled = self.pixels_of(&dropped);
        if labelled > 0 && !drop_pixels {
            let pixels = crate::base::words::counted(labelled, "labelled pixel");
            let reason = format!(
                "the classes to be deleted have {pixels}; set drop_pixels to delete these as well, or keep the classes"
            );
            return Ok(Reclassed::Conflict(own.clone(), reason));
        }
        let dataset = classes::dataset(&next.classes, &self.base);
        let (erased, done) = self.erase(&dropped, &next);
        let done = if own.is_recolored_by(&next) { done.and_then(|()| self.write_as_values(&next)) } else { done };
        let done = done.and_then(|()| write_dataset(&self.place.dataset(), &dataset));
        for (image, revision) in erased {
            self.tell(LabelEvent::Labels { image, revision, tab: String::new() });
        }
        done?;
        let revision = next.revision;
        *own = next;
        drop(own);
        self.tell(LabelEvent::Classes { revision });
        Ok(Reclassed::Done(revision))
    }

    fn pixels_of(&self, counts: &(dyn Fn(u8) -> bool + Sync)) -> usize {
        let of = |raster: &Mutex<Raster>| {
            let values = locked(raster).values.clone();
            values.map_or(0, |values| values.iter().filter(|value| **value != 0 && counts(**value)).count())
        };
        self.rasters.par_iter().map(of).sum()
    }

    /// Takes the labels of some values away; the images that had some, with their revisions now, as far as it got.
    fn erase(&self, dropped: &dyn Fn(u8) -> bool, next: &Classes) -> (Vec<(usize, u64)>, Result<()>) {
        let mut erased = Vec::new();
        for (image, file) in self.place.images.iter().enumerate() {
            let mut raster = self.raster(image);
            if raster.labelled == 0 {
                continue;
            }
            let changed = raster.without(dropped);
            if changed.is_some() {
                if let Err(fault) = write_labels(file, changed.values(), &next.classes) {
                    return (erased, Err(fault));
                }
                erased.push((image, raster.commit(changed, "")));
            }
        }
        (erased, Ok(()))
    }

    /// Writes label images that are read by their colours, as other programs save strokes, as values: with other colours of
    /// the classes they would mean something else, or nothing. Once is enough: all that is written here holds values.
    /// The classes must not change meanwhile.
    fn write_as_values(&self, next: &Classes) -> Result<()> {
        if self.all_values.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.place.images.par_iter().enumerate().try_for_each(|(image, file)| {
            let values = self.raster(image).values.clone();
            match values.filter(|_| !holds_values(&file.labels)) {
                Some(values) => write_labels(file, &values, &next.classes),
                None => Ok(()),
            }
        })?;
        self.all_values.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes all label images with the classes' colours of now, and the table of rectangles.
    pub(super) fn save(&self) -> Result<()> {
        self.complete(&AtomicBool::new(false))?;
        let classes = self.classes();
        let mut all = Vec::new();
        for (image, file) in self.place.images.iter().enumerate() {
            // Held while it is written, so that no later change is overwritten on disk.
            let raster = self.raster(image);
            if let Some(values) = &raster.values {
                write_labels(file, values, &classes.classes)?;
                all.push((file, Arc::clone(values)));
            }
        }
        write_dataset(&self.place.dataset(), &classes::dataset(&classes.classes, &self.base))?;
        write_table(&self.place.table(), &all)
    }
}
