//! A file of CVAT for images 1.1.

use std::fmt::Write;

use super::region::{Form, Region, bits, run_lengths};
use crate::base::Size;
use crate::base::markup::{escaped, hex};
use crate::data::Dataset;

/// Attributes of all shapes.
const ALL: &str = "source=\"auto\" occluded=\"0\" z_order=\"0\"";

/// The element of an image, whose number is still missing.
pub(super) fn image(regions: &[Region], name: &str, size: Size) -> String {
    let (name, Size { width, height }) = (escaped(name), size);
    let mut text = format!(" name=\"{name}\" width=\"{width}\" height=\"{height}\">\n");
    for region in regions {
        let label = escaped(&region.class);
        // Writing to a text does not fail.
        _ = match &region.form {
            Form::Polygon(points) => {
                let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect();
                let points = points.join(";");
                writeln!(text, "    <polygon label=\"{label}\" {ALL} points=\"{points}\"></polygon>")
            }
            Form::Mask(mask) => {
                let lengths = run_lengths(bits(mask).into_iter().map(|bit| (bit, 1)));
                let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
                let (rle, left, top, Size { width, height }) = (lengths.join(", "), mask.left, mask.top, mask.size);
                writeln!(
                    text,
                    "    <mask label=\"{label}\" {ALL} rle=\"{rle}\" left=\"{left}\" top=\"{top}\" width=\"{width}\" \
                     height=\"{height}\"></mask>"
                )
            }
        };
    }
    text + "  </image>\n"
}

/// The file of all images.
pub(super) fn file(images: &[String], names: &[String], dataset: &Dataset) -> String {
    let color = |name: &String| {
        let classes = dataset.classes.iter().zip(dataset.shown_colors());
        let found = classes.filter(|(class, _)| class.name == *name).map(|(_, color)| color).next();
        hex(found.unwrap_or([128; 3]))
    };
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n      <labels>\n",
    );
    for name in names {
        let (color, name) = (color(name), escaped(name));
        text += &format!(
            "        <label><name>{name}</name><color>{color}</color><type>any</type><attributes></attributes></label>\n"
        );
    }
    text += "      </labels>\n    </task>\n  </meta>\n";
    for (id, image) in images.iter().enumerate() {
        text += &format!("  <image id=\"{id}\"{image}");
    }
    text + "</annotations>\n"
}
