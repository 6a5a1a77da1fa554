//! What comes from images and from files of other tools: bands, normalisation, names and colours.

use image::ImageBuffer;
use segtool::base::label_map::IGNORE;
use segtool::data::{Normalisation, ValidPixels, probe_images};

use super::*;

#[test]
fn bands_and_normalisation_are_those_of_the_images() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, images) = (folder.path().join("masks"), folder.path().join("images"));
    fs::create_dir(&labels).unwrap();
    fs::create_dir(&images).unwrap();
    write_values(&labels.join("a.png"), &[0, 1]);
    let proposal_for = |paths: &[&Path]| {
        let survey =
            survey_labels(&LabelFiles::find(std::slice::from_ref(&labels), &|_| ()).unwrap(), &|_| ()).unwrap();
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        let probe = probe_images(&paths, &|_| ()).unwrap();
        propose(&survey, &Known { name: "x", labels: "masks", images: Some(&probe), names: None }).unwrap()
    };
    let deep = images.join("a.tif");
    ImageBuffer::<Luma<u16>, _>::from_fn(SIDE, SIDE, |x, y| Luma([(x * y) as u16])).save(&deep).unwrap();
    let of_deep = proposal_for(&[&deep]);
    assert_eq!(of_deep.dataset.bands, 1);
    let nonzero = Normalisation::PerDataset { valid: ValidPixels::Nonzero };
    assert_eq!(of_deep.dataset.normalisation, nonzero, "its first row and column are 0");
    assert!(!of_deep.text.contains("ImageNet"));
    let color = images.join("b.png");
    write_colors(&color, &[[1, 2, 3]]);
    let of_color = proposal_for(&[&color]);
    assert_eq!(of_color.dataset.bands, 3);
    assert_eq!(of_color.dataset.normalisation, Normalisation::PerDataset { valid: ValidPixels::All });
    assert!(of_color.text.contains("ImageNet"));
    // Grey images fill all bands.
    let both = proposal_for(&[&deep, &color]);
    assert_eq!(line_of(&both.text, "bands = "), "bands = 3  # measured on 2 images, 16-bit");
    write_colors(&images.join("c.png"), &[[7; 3]]);
    assert!(proposal_for(&[&images.join("c.png")]).text.contains("bands = 1 is enough"));
}

/// A folder of one label image, and the file of names that is to go with it.
struct Named {
    folder: tempfile::TempDir,
    labels: PathBuf,
}

impl Named {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("masks");
        fs::create_dir(&labels).unwrap();
        Self { folder, labels }
    }

    fn image(&self) -> PathBuf {
        self.labels.join("a.png")
    }

    fn propose(&self, file: &str, content: &str) -> Result<Proposal, Error> {
        let path = self.folder.path().join(file);
        fs::write(&path, content).unwrap();
        proposed(std::slice::from_ref(&self.labels), Some(&ClassNames::read(&path)?))
    }

    fn fitting(&self, file: &str, content: &str) -> Proposal {
        let proposal = self.propose(file, content).unwrap();
        fits(&proposal, &[self.image()]);
        proposal
    }
}

#[test]
fn names_go_to_values() {
    let named = Named::new();
    write_values(&named.image(), &[0, 1, 3]);
    let plain = named.fitting("classes.txt", "sand\nshale\nsalt \"dome\"\nvoid\n");
    assert_eq!(classes(&plain), [("sand", 0), ("shale", 1), ("salt \"dome\"", 2)]);
    assert_eq!(plain.dataset.value_table()[3], Some(IGNORE));
    assert!(line_of(&plain.text, "values = 2,").ends_with("# in none of the files"));
    assert!(line_of(&plain.text, "  3,").contains("called 'void' in"));
    let roboflow = named.fitting("_classes.csv", "Pixel Value, Class\n1, sand\n3, salt\n");
    assert_eq!(classes(&roboflow), [("sand", 1), ("salt", 3)]);
    assert!(line_of(&roboflow.text, "  0,").contains("not in"));
    let kaggle = "name,r,g,b\nsand,1,2,3\nshale,4,5,6\nsalt,7,8,9\nfault,10,11,12\n";
    let kaggle = named.fitting("class_dict.csv", kaggle);
    assert_eq!(classes(&kaggle), [("sand", 0), ("shale", 1), ("salt", 2), ("fault", 3)]);
    assert_eq!(kaggle.dataset.colors()[3], [10, 11, 12]);
}

#[test]
fn names_go_to_colours() {
    let named = Named::new();
    write_colors(&named.image(), &[[0; 3], [4, 5, 6], [1, 2, 3]]);
    let cvat = "# label:color_rgb:parts:actions\nvoid:0,0,0::\nsand:1,2,3::\nshale:4,5,6::\nsalt:7,8,9::\n";
    let cvat = named.fitting("labelmap.txt", cvat);
    assert_eq!(classes(&cvat), [("sand", 0), ("shale", 1), ("salt", 2)]);
    assert_eq!(first_class(&named.image(), &cvat), IGNORE);
    for (content, expected) in [
        ("sand\nshale\n", "classes.txt: names no colours"),
        ("name,r,g,b\nsand,1,2,3\nshale,4,5,6\nclay,4,5,6\n", "classes.txt: gives one colour to several classes"),
    ] {
        let message = named.propose("classes.txt", content).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // A colour that is not named gets a value that is free, also beside the largest.
    let largest = "name,value,r,g,b\nsand,0,1,2,3\nshale,65535,4,5,6\n";
    write_colors(&named.image(), &[[7, 8, 9], [4, 5, 6], [1, 2, 3]]);
    let largest = named.propose("classes.csv", largest).unwrap();
    assert_eq!(classes(&largest), [("sand", 0), ("class 1", 1), ("shale", 65535)]);
}
