//! Inputs of one kind, one after another, until the time is over.

use std::fs;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segtool::image::limits::set_memory_limit;

use crate::allocator::most_held;
use crate::mutate::mutated;

/// Targets in this crate, among which the time is shared.
const TARGETS: u64 = 14;

/// What reading a file may take.
pub(crate) const LIMIT: u64 = 64 << 20;

/// What it may take in fact: a limit is looked at before large buffers are made, not before every small one.
const MOST: usize = 2 * LIMIT as usize;

/// The longest that reading an input may take; these are small. Without optimisation all takes longer.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });

/// After this time it counts as a hang, and the program is ended.
const HANG: Duration = Duration::from_secs(120);

/// A kind of file and what reads it.
pub(crate) struct Target<'a> {
    /// Its name, and that of the folder of inputs in `tests/fixtures/fuzz` that once broke it.
    pub(crate) name: &'a str,
    /// What the file is called, for readers that go by its ending.
    pub(crate) file: &'a str,
    /// Sound files.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// Puts right, in half of the inputs, what would keep damage from the code behind it.
    pub(crate) repair: fn(&mut [u8]),
    /// Reads the file; whether it was taken for a sound one.
    pub(crate) read: &'a dyn Fn(&Path) -> bool,
}

/// Reads the seeds, which must be taken for sound, the inputs that once broke it, and as many damaged ones as there is time
/// for: `SEGTOOL_FUZZ_SECONDS` of all targets, 60 if it is not set. `SEGTOOL_FUZZ_SEED` gives other damage.
pub(crate) fn fuzz(target: &Target<'_>) {
    quiet();
    set_memory_limit(Some(LIMIT));
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let budget = Duration::from_secs(number("SEGTOOL_FUZZ_SECONDS").unwrap_or(60)) / TARGETS as u32;
    let mut rng = ChaCha8Rng::seed_from_u64(number("SEGTOOL_FUZZ_SEED").unwrap_or(0));
    let mut course = Course::new(target);
    for (i, seed) in target.seeds.iter().enumerate() {
        assert!(course.read(seed), "{}: seed {i} is refused", target.name);
    }
    let broke = known(target.name);
    for input in &broke {
        course.read(input);
    }
    let seeds = [target.seeds.clone(), broke].concat();
    let began = Instant::now();
    while began.elapsed() < budget && course.failures.len() < 10 {
        let mut input = mutated(&mut rng, &seeds);
        if rng.random_bool(0.5) {
            (target.repair)(&mut input);
        }
        course.read(&input);
    }
    course.finish();
}

/// Inputs that once broke a target.
fn known(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz").join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Keeps the panics of readers, which are counted here, from filling the terminal.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let of_tests = info.location().is_some_and(|place| place.file().starts_with("tests/"));
            if of_tests {
                usual(info);
            }
        }));
    });
}

/// How it went so far.
struct Course<'a> {
    target: &'a Target<'a>,
    folder: PathBuf,
    file: PathBuf,
    watched: Arc<AtomicU64>,
    inputs: u64,
    sound: u64,
    slowest: Duration,
    most: usize,
    failures: Vec<String>,
}

impl<'a> Course<'a> {
    fn new(target: &'a Target<'a>) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz").join(target.name);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(target.file);
        let watched = Arc::new(AtomicU64::new(0));
        watch(Arc::clone(&watched), file.clone());
        let (slowest, failures) = (Duration::ZERO, Vec::new());
        Self { target, folder, file, watched, inputs: 0, sound: 0, slowest, most: 0, failures }
    }

    /// Reads one input; whether it was taken for sound.
    fn read(&mut self, input: &[u8]) -> bool {
        overwrite(&self.file, input);
        self.inputs += 1;
        self.watched.store(self.inputs, Ordering::Relaxed);
        let began = Instant::now();
        let (result, held) = most_held(|| panic::catch_unwind(AssertUnwindSafe(|| (self.target.read)(&self.file))));
        let took = began.elapsed();
        (self.slowest, self.most) = (self.slowest.max(took), self.most.max(held));
        let problem = match &result {
            Err(payload) => Some(format!("panics: {}", words(payload.as_ref()))),
            Ok(_) if took > LONGEST => Some(format!("takes {took:?}")),
            Ok(_) if held > MOST => Some(format!("takes {} MiB", held >> 20)),
            Ok(_) => None,
        };
        if let Some(problem) = problem {
            let saved = self.folder.join(format!("failed-{}", self.failures.len()));
            fs::write(&saved, input).unwrap();
            self.failures.push(format!("{problem}: {}", saved.display()));
        }
        let sound = result.unwrap_or(false);
        self.sound += u64::from(sound);
        sound
    }

    #[allow(clippy::print_stdout)] // figures, shown with --nocapture
    fn finish(self) {
        let Self { target, inputs, sound, slowest, most, failures, watched, .. } = self;
        watched.store(u64::MAX, Ordering::Relaxed);
        let name = target.name;
        println!("{name}: {inputs} inputs, {sound} of them sound; at most {slowest:?} and {} KiB each", most >> 10);
        assert!(failures.is_empty(), "{name}: of {inputs} inputs\n{}", failures.join("\n"));
    }
}

/// Writes a file without emptying it first, which file systems take for a reason to wait for the disk.
fn overwrite(path: &Path, content: &[u8]) {
    let mut file = fs::File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(content).unwrap();
    file.set_len(content.len() as u64).unwrap();
}

/// Ends the program where an input is not read in time, which nothing else could.
#[allow(clippy::print_stderr)]
fn watch(inputs: Arc<AtomicU64>, file: PathBuf) {
    std::thread::spawn(move || {
        let mut last = 0;
        loop {
            std::thread::sleep(HANG);
            let now = inputs.load(Ordering::Relaxed);
            if now == u64::MAX {
                return;
            }
            if now == last {
                eprintln!("{} is not read within {HANG:?}", file.display());
                std::process::abort();
            }
            last = now;
        }
    });
}

fn words(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
