//! Batches of training: the same whatever prepares them, sampled as asked, and shown as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{GrayImage, Luma};
use segtool::data::{
    Augmentation, Batch, Cache, ClassPresence, Dataset, Loader, Pair, Sampling, find_images, pair_folders, survey,
};
use segtool::image::read_image;
use segtool::train::network::write_contact_sheet;

/// 23 images of several sizes, every fourth higher than wide: class 0 everywhere; class 1, a square, in every third
/// image; class 2, a single pixel, in the last. Grey values are 40 times the class plus 50.
fn pairs(folder: &Path) -> Vec<Pair> {
    for name in ["images", "labels"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    for i in 0..23u32 {
        let (width, height) = if i % 4 == 0 { (20, 30 + i) } else { (40 + i, 24) };
        let class = |x: u32, y: u32| match (x, y) {
            (3, 20) if i == 22 => 2u8,
            (5..10, 5..10) if i % 3 == 0 => 1,
            _ => 0,
        };
        let labels = GrayImage::from_fn(width, height, |x, y| Luma([class(x, y)]));
        let image = GrayImage::from_fn(width, height, |x, y| Luma([50 + 40 * class(x, y)]));
        labels.save(folder.join(format!("labels/{i:02}.png"))).unwrap();
        image.save(folder.join(format!("images/{i:02}.png"))).unwrap();
    }
    pair_folders(&folder.join("images"), &folder.join("labels"), &|_| {}).unwrap()
}

/// Three classes with values 0 to 2, one band.
fn dataset(folder: &Path) -> Dataset {
    let path = folder.join("set.toml");
    let class = |i: usize, color: &str| format!("{{ name = \"{i}\", values = {i}, color = {color} }}");
    let classes = [class(0, "[0, 0, 0]"), class(1, "[255, 0, 0]"), class(2, "[0, 255, 0]")].join(", ");
    let normalisation = "{ kind = \"fixed\", mean = [0.5], std = [0.25] }";
    let text = format!("name = \"set\"\nbands = 1\nnormalisation = {normalisation}\nclasses = [{classes}]\n");
    std::fs::write(&path, text).unwrap();
    Dataset::find(path.to_str().unwrap()).unwrap()
}

struct Set {
    _folder: tempfile::TempDir,
    root: PathBuf,
    loader: Loader,
    presence: Arc<ClassPresence>,
}

fn set(batch_size: usize) -> Set {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let (pairs, dataset) = (pairs(&root), dataset(&root));
    let presence = Arc::new(survey(&pairs, &[], &dataset, &|_| ()).unwrap().presence);
    Set { _folder: folder, root, loader: Loader::new(pairs, Arc::new(dataset), batch_size, 2), presence }
}

fn everything() -> Vec<Augmentation> {
    let text = "flip-horizontal,flip-vertical,rotate90,rotate=30,scale=0.5:2,color-jitter,blur,noise,crop=32";
    Augmentation::parse_list(text).unwrap()
}

fn epoch(loader: &Loader, epoch: usize, skip: usize, augmentations: &[Augmentation]) -> Vec<Batch> {
    loader.shuffled(7, epoch, skip, augmentations).map(Result::unwrap).collect()
}

fn images(batches: &[Batch]) -> Vec<usize> {
    batches.iter().flat_map(|batch| batch.indices.iter().copied()).collect()
}

fn ways() -> Vec<Sampling> {
    let mut ways = Vec::new();
    for epoch_batches in [None, Some(3), Some(10)] {
        for group_by_aspect in [false, true] {
            for foreground in [0.0, 0.4] {
                ways.push(Sampling { epoch_batches, group_by_aspect, foreground });
            }
        }
    }
    ways
}

#[test]
fn batches_do_not_depend_on_workers_cache_or_entry() {
    let Set { _folder, loader, presence, .. } = set(4);
    for sampling in ways() {
        let loader = loader.clone().sampled(sampling.clone(), Arc::clone(&presence)).unwrap();
        let expected = epoch(&loader, 1, 0, &everything());
        assert_eq!(expected.len(), loader.batches());
        assert_eq!(images(&expected).len(), loader.samples());
        assert!(expected.iter().all(|batch| batch.planes.iter().all(|value| value.is_finite())));
        let cache = Arc::new(Cache::new(20_000));
        for workers in [1, 2, 5] {
            for loader in [loader.clone(), loader.clone().cached(Arc::clone(&cache))] {
                let loader = Loader { workers, ..loader };
                assert_eq!(epoch(&loader, 1, 0, &everything()), expected, "{sampling:?}");
                assert_eq!(epoch(&loader, 1, 2, &everything()), expected[2..], "{sampling:?}");
            }
        }
        let usage = cache.usage(23);
        assert!(usage.held > 3 && usage.held < 23 && usage.bytes <= 20_000, "{usage}");
        assert!(cache.is_full());
        assert_ne!(epoch(&loader, 2, 0, &everything()), expected);
    }
}

#[test]
fn a_cache_changes_nothing_in_validation() {
    let Set { _folder, loader, .. } = set(4);
    let all = |loader: &Loader| loader.in_order().map(Result::unwrap).collect::<Vec<_>>();
    let cached = loader.clone().cached(Arc::new(Cache::new(1 << 20)));
    assert_eq!(all(&cached), all(&loader));
    assert_eq!(all(&cached), all(&loader));
    let usage = cached.cache.usage(23);
    // A byte a sample and a byte a label.
    let pixels: usize = (0..23).map(|i| if i % 4 == 0 { 20 * (30 + i) } else { (40 + i) * 24 }).sum();
    assert!(usage.held == 23 && (2 * pixels..2 * pixels + 23 * 200).contains(&usage.bytes), "{usage}");
    assert!(usage.to_string().ends_with("MiB hold 23 of 23 images"), "{usage}");
    assert!(!cached.cache.is_full());
}

#[test]
fn consecutive_epochs_visit_every_image_as_often() {
    let Set { _folder, loader, presence, .. } = set(4);
    for group_by_aspect in [false, true] {
        let sampling = Sampling { epoch_batches: Some(3), group_by_aspect, foreground: 0.0 };
        let loader = loader.clone().sampled(sampling, Arc::clone(&presence)).unwrap();
        let mut counts = [0usize; 23];
        for i in 0..46 {
            let batches = epoch(&loader, i, 0, &[]);
            assert!(batches.len() == 3 && batches.iter().all(|batch| batch.count == 4));
            images(&batches).iter().for_each(|&i| counts[i] += 1);
        }
        // 46 epochs of 12 are 24 rounds; groups of 6 and 17 are filled up to 8 and 20 of a round's 28.
        let expected = if group_by_aspect { 19..=34 } else { 24..=24 };
        assert!(counts.iter().all(|count| expected.contains(count)), "{counts:?}");
    }
}

#[test]
fn high_images_share_no_batch_with_wide_ones() {
    let Set { _folder, loader, presence, .. } = set(4);
    for epoch_batches in [None, Some(20)] {
        let sampling = Sampling { epoch_batches, group_by_aspect: true, foreground: 0.3 };
        let loader = loader.clone().sampled(sampling, Arc::clone(&presence)).unwrap();
        let batches = epoch(&loader, 0, 0, &[]);
        let high = |batch: &Batch| batch.indices.iter().filter(|i| **i % 4 == 0).count();
        assert!(batches.iter().all(|batch| high(batch) == 0 || high(batch) == batch.count));
        assert!(batches.iter().any(|batch| high(batch) > 0));
    }
    // 6 and 17 images: 2 and 5 batches.
    let sampling = Sampling { group_by_aspect: true, ..Sampling::default() };
    let loader = loader.sampled(sampling, presence).unwrap();
    assert_eq!(loader.batches(), 7);
    let mut all = images(&epoch(&loader, 0, 0, &[]));
    all.sort_unstable();
    assert_eq!(all, (0..23).collect::<Vec<_>>());
}

#[test]
fn the_foreground_has_its_share_and_crops_show_it() {
    let Set { _folder, loader, presence, .. } = set(4);
    let sampling = Sampling { epoch_batches: Some(100), group_by_aspect: false, foreground: 0.5 };
    let loader = loader.sampled(sampling, presence).unwrap();
    let batches = epoch(&loader, 0, 0, &Augmentation::parse_list("flip-horizontal,crop=6").unwrap());
    let mut shown = [0; 3];
    for classes in batches.iter().flat_map(|batch| batch.classes.chunks_exact(36)) {
        (0..3).filter(|class| classes.contains(class)).for_each(|class| shown[usize::from(class)] += 1);
    }
    // 200 of 400 samples are chosen, half of these for either class; few of the others show one.
    assert!((75..130).contains(&shown[2]), "{shown:?}");
    assert!((80..170).contains(&shown[1]), "{shown:?}");
    let without = Sampling { foreground: 0.5, ..Sampling::default() };
    let nothing = Arc::new(ClassPresence::default());
    assert!(loader.sampled(without, nothing).unwrap_err().to_string().contains("is known for only 0 of 23"));
}

#[test]
fn crops_are_normalised_like_the_whole_image() {
    let Set { _folder, loader, .. } = set(1);
    let mut dataset = (*loader.dataset).clone();
    dataset.normalisation = toml::from_str("kind = \"per-image\"").unwrap();
    let loader = Loader { dataset: Arc::new(dataset), ..loader };
    let whole = epoch(&loader, 0, 0, &[]);
    let crops = epoch(&loader, 0, 0, &Augmentation::parse_list("crop=9").unwrap());
    for (whole, crop) in whole.iter().zip(&crops) {
        assert_eq!(whole.indices, crop.indices);
        for (value, class) in crop.planes.iter().zip(&crop.classes) {
            let same = whole.classes.iter().position(|other| other == class).unwrap();
            assert_eq!(*value, whole.planes[same]);
        }
    }
}

#[test]
fn a_damaged_image_ends_the_epoch_with_its_name() {
    let Set { _folder, loader, root, .. } = set(4);
    std::fs::write(find_images(&root.join("images"), &|_| {}).unwrap().remove(5), "nothing").unwrap();
    let errors: Vec<String> =
        loader.shuffled(1, 0, 0, &[]).filter_map(Result::err).map(|error| error.to_string()).collect();
    assert!(errors.len() == 1 && errors[0].contains("05.png"), "{errors:?}");
}

#[test]
fn the_presence_survives_the_run_folder() {
    let Set { _folder, presence, .. } = set(4);
    assert_eq!(presence.classes(0), [(0, 20 * 30 - 25), (1, 25)]);
    assert_eq!(presence.classes(22), [(0, 62 * 24 - 1), (2, 1)]);
    let text = serde_json::to_string(&*presence).unwrap();
    assert_eq!(serde_json::from_str::<ClassPresence>(&text).unwrap(), *presence);
}

#[test]
fn a_contact_sheet_shows_samples_beside_their_labels() {
    let Set { _folder, loader, root, presence, .. } = set(4);
    let sampling = Sampling { foreground: 0.5, ..Sampling::default() };
    let loader = loader.sampled(sampling, presence).unwrap();
    let path = root.join("sheet.png");
    write_contact_sheet(&path, &loader, 3, &everything()).unwrap();
    let sheet = read_image(&path).unwrap();
    assert!(sheet.size.width > 1_600 && sheet.size.height > 1_200, "{}", sheet.size);
    let rgb = sheet.to_rgb(&[]);
    let reddish = rgb.pixels().filter(|p| p.0[0] > 120 && p.0[1] < 60).count();
    let hatched = rgb.pixels().filter(|p| p.0 == [150; 3]).count();
    assert!(reddish > 100 && hatched > 1_000, "{reddish} {hatched}");
}
