//! TensorBoard's event files: `tensorboard --logdir RUN` draws them.
//!
//! A file is a sequence of records: the length of the content (u64), its checksum, the content, its checksum, all
//! little endian. The checksums are masked CRC-32C. The content is an `Event` message of TensorFlow's `event.proto`; of
//! it and of `summary.proto` only the fields below are used.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::event::Sink;
use crate::base::files::create_folder;
use crate::base::{Error, Result};
use crate::run::Row;

/// Steps of a training that are recorded at least, where it has as many: TensorBoard itself shows 1,000.
const STEPS: usize = 2000;
/// Files of one second that are told apart.
const MOST_FILES: usize = 1000;

/// Numbers of protobuf fields.
mod field {
    /// Of `Event`.
    pub(super) const WALL_TIME: u8 = 1;
    pub(super) const STEP: u8 = 2;
    pub(super) const FILE_VERSION: u8 = 3;
    pub(super) const SUMMARY: u8 = 5;
    pub(super) const SESSION_LOG: u8 = 7;
    /// Of `Summary`.
    pub(super) const VALUE: u8 = 1;
    /// Of `Summary.Value`.
    pub(super) const TAG: u8 = 1;
    pub(super) const SIMPLE_VALUE: u8 = 2;
    /// Of `SessionLog`.
    pub(super) const STATUS: u8 = 1;
}

/// `SessionLog.START`.
const START: u64 = 1;

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn whole(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        self.varint(value);
        self
    }

    fn double(mut self, field: u8, value: f64) -> Self {
        self.0.push(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u8, value: f32) -> Self {
        self.0.push(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u8, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// An event file that is being written. Records are added at the end and buffered.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl EventFile {
    /// Begins a new file in the folder, which is made.
    pub fn create(folder: &Path) -> Result<Self> {
        create_folder(folder)?;
        let (path, file) = new_file(folder)?;
        let mut events = Self { path, out: BufWriter::new(file) };
        events.write(&event(0).bytes(field::FILE_VERSION, b"brain.Event:2"))?;
        Ok(events)
    }

    /// Begins a new file of a training that goes on with `step`: what earlier files hold from that step on no longer
    /// counts.
    pub fn resume(folder: &Path, step: u64) -> Result<Self> {
        let mut events = Self::create(folder)?;
        events.write(&event(step).message(field::SESSION_LOG, &Message::default().whole(field::STATUS, START)))?;
        Ok(events)
    }

    /// Adds a point to the curve `tag`.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f32) -> Result<()> {
        let value = Message::default().bytes(field::TAG, tag.as_bytes()).float(field::SIMPLE_VALUE, value);
        self.write(&event(step).message(field::SUMMARY, &Message::default().message(field::VALUE, &value)))
    }

    /// Hands what is buffered to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| Error::write(&self.path, e))
    }

    fn write(&mut self, event: &Message) -> Result<()> {
        self.out.write_all(&record(&event.0)).map_err(|e| Error::write(&self.path, e))
    }
}

/// A file that was not there. Its name sorts behind those of earlier seconds: TensorBoard reads files in that order.
fn new_file(folder: &Path) -> Result<(PathBuf, File)> {
    let seconds = now() as u64;
    for number in 0..MOST_FILES {
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.segtool.{number:03}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path.clone(), file)).map_err(|e| Error::write(&path, e)),
        }
    }
    Err(Error::content(
        folder,
        format!("it already holds {MOST_FILES} event files of the same second; clear the folder"),
    ))
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn event(step: u64) -> Message {
    Message::default().double(field::WALL_TIME, now()).whole(field::STEP, step)
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let (before, after) = (masked_crc(&length).to_le_bytes(), masked_crc(content).to_le_bytes());
    [&length, before.as_slice(), content, &after].concat()
}

/// As TensorFlow's `crc32c::Mask` has it: checksums of what holds checksums are avoided.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The curves of a training. What cannot be written is said once, and the training goes on without it.
pub(super) struct Board<'a> {
    file: Option<EventFile>,
    every: usize,
    sink: &'a dyn Sink,
}

impl<'a> Board<'a> {
    /// Records nothing.
    pub(super) fn closed(sink: &'a dyn Sink) -> Self {
        Self { file: None, every: usize::MAX, sink }
    }

    /// Begins a file in the folder, for a training of `steps` steps, which is new or `resumed` with this many done.
    pub(super) fn open(folder: &Path, resumed: Option<usize>, steps: usize, sink: &'a dyn Sink) -> Self {
        let mut board = Self { file: None, every: (steps / STEPS).max(1), sink };
        // The scores of an epoch have the number of its last step, which is done.
        let file = match resumed {
            None => EventFile::create(folder),
            Some(done) => EventFile::resume(folder, done as u64 + 1),
        };
        board.file = board.noted(file);
        board
    }

    /// Records a step; the first is 1. Of long trainings, not every step is kept.
    pub(super) fn step(&mut self, step: usize, loss: f64, learning_rate: f64) {
        if step.is_multiple_of(self.every) {
            self.write(|file| {
                file.scalar(step as u64, "train/loss", loss as f32)?;
                file.scalar(step as u64, "train/learning_rate", learning_rate as f32)
            });
        }
    }

    /// Records an epoch that ended with a step.
    pub(super) fn epoch(&mut self, step: usize, row: &Row, classes: &[String]) {
        let step = step as u64;
        self.write(|file| {
            file.scalar(step, "train/epoch_loss", row.train_loss as f32)?;
            file.scalar(step, "train/images_per_second", row.images_per_second as f32)?;
            let scores = [
                ("val/loss", row.validation_loss),
                ("val/mean_iou", row.mean_iou()),
                ("val/pixel_accuracy", row.pixel_accuracy()),
            ];
            for (tag, value) in scores {
                value.map_or(Ok(()), |value| file.scalar(step, tag, value as f32))?;
            }
            for (name, iou) in classes.iter().zip(row.class_iou()) {
                iou.map_or(Ok(()), |iou| file.scalar(step, &format!("iou/{name}"), iou as f32))?;
            }
            Ok(())
        });
        self.flush();
    }

    /// Hands on what is buffered; to be called before a save, which must not be ahead of the curves.
    pub(super) fn flush(&mut self) {
        self.write(EventFile::flush);
    }

    fn write(&mut self, write: impl FnOnce(&mut EventFile) -> Result<()>) {
        if let Some(mut file) = self.file.take() {
            self.file = self.noted(write(&mut file).map(|()| file));
        }
    }

    fn noted(&self, file: Result<EventFile>) -> Option<EventFile> {
        file.map_err(|e| self.sink.note(format!("curves for TensorBoard are no longer written: {e}"))).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;
    use crate::base::event::Event;

    /// Contents of the records of a file, after checking lengths and checksums.
    fn records(path: &Path) -> Vec<Vec<u8>> {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let content = rest[12..12 + length].to_vec();
            assert_eq!(rest[..16 + length], record(&content));
            rest = &rest[16 + length..];
            found.push(content);
        }
        found
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn checksums_equal_known_ones() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // Every event file that TensorFlow writes begins with these 12 bytes: its first event has 24.
        assert_eq!(masked_crc(&24u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn messages_have_their_bytes() {
        let value = Message::default().bytes(field::TAG, b"a/b").float(field::SIMPLE_VALUE, 0.5);
        let summary = Message::default().message(field::VALUE, &value);
        let event = Message::default().double(field::WALL_TIME, 2.0).whole(field::STEP, 300);
        let expected = [
            &[0x09, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x10, 0xac, 0x02, 0x2a, 12, 0x0a, 10][..],
            &[0x0a, 3, b'a', b'/', b'b', 0x15, 0, 0, 0, 0x3f],
        ];
        assert_eq!(event.message(field::SUMMARY, &summary).0, expected.concat());
    }

    #[test]
    fn files_begin_with_their_version_and_resumed_ones_with_the_purge() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventFile::create(folder.path()).unwrap();
        first.scalar(1, "train/loss", 0.5).unwrap();
        first.flush().unwrap();
        EventFile::resume(folder.path(), 5).unwrap().flush().unwrap();
        let [first, second] = files(folder.path()).try_into().unwrap();
        let version = records(&first);
        assert_eq!((version.len(), &version[0][9..]), (2, &b"\x10\x00\x1a\x0dbrain.Event:2"[..]));
        assert_eq!(records(&second)[1][9..], [0x10, 5, 0x3a, 2, 0x08, 1]);
    }

    #[test]
    fn what_cannot_be_written_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("tensorboard");
        fs::write(&occupied, "a file").unwrap();
        let notes = Mutex::new(Vec::new());
        let sink = |event: Event| notes.lock().unwrap().push(event);
        let mut board = Board::open(&occupied, None, 10, &sink);
        (1..5).for_each(|step| board.step(step, 1.0, 0.1));
        board.flush();
        let notes = notes.lock().unwrap();
        assert!(matches!(&notes[..], [Event::Note(text)] if text.contains("TensorBoard")), "{notes:?}");
    }

    #[test]
    fn long_trainings_are_thinned_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = Board::open(folder.path(), None, 100_000, &|_| ());
        (1..=1000).for_each(|step| board.step(step, 1.0, 0.1));
        board.flush();
        // Every 50th step, two curves, and the version.
        assert_eq!(records(&files(folder.path())[0]).len(), 2 * 20 + 1);
    }
}
