//! What label maps on disk say besides their values.

use std::path::Path;

use crate::base::Size;
use crate::base::markup::{escaped, hex};
use crate::base::named_enum::named_enum;
use crate::data::Dataset;
use crate::image::{Georeference, LabelTiff};

/// Type of the label values in .npy files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NpyType {
    /// The smallest unsigned integer that holds the data set's largest label value.
    #[default]
    Smallest,
    /// int64, as the original scripts wrote.
    Int64,
}

named_enum!(NpyType, "type of label values", "smallest" => Smallest, "int64" => Int64);

/// The label map of an image as GeoTIFF, but for its values.
pub(super) fn label_tiff(dataset: &Dataset, input: &Path, size: Size) -> LabelTiff {
    let classes = dataset.classes.iter().zip(dataset.shown_colors());
    let colors = classes.flat_map(|(class, color)| class.values.iter().map(move |&value| (value, color))).collect();
    let unlabelled = dataset.unlabelled_value();
    let is_class = dataset.classes.iter().any(|class| class.values.contains(&unlabelled));
    LabelTiff {
        size,
        largest: dataset.largest_value(),
        colors,
        nodata: Some(unlabelled).filter(|_| !is_class),
        place: Georeference::of(input),
    }
}

/// The names of the classes by label value, as GDAL keeps them beside a TIFF. Values without a class have no name.
pub(super) fn category_names(dataset: &Dataset) -> String {
    let mut names = vec![""; usize::from(dataset.largest_value()) + 1];
    for class in &dataset.classes {
        for value in &class.values {
            names.get_mut(usize::from(*value)).into_iter().for_each(|name| *name = &class.name);
        }
    }
    let categories: String =
        names.into_iter().map(|name| format!("      <Category>{}</Category>\n", escaped(name))).collect();
    format!(
        "<PAMDataset>\n  <PAMRasterBand band=\"1\">\n    <CategoryNames>\n{categories}    </CategoryNames>\n  \
         </PAMRasterBand>\n</PAMDataset>\n"
    )
}

/// A style with which QGIS shows the classes of a TIFF in their colours and by their names.
pub(super) fn qgis_style(dataset: &Dataset) -> String {
    let mut entries = String::new();
    for (class, color) in dataset.classes.iter().zip(dataset.shown_colors()) {
        let (name, color) = (escaped(&class.name), hex(color));
        for value in &class.values {
            entries += &format!(
                "        <paletteEntry value=\"{value}\" label=\"{name}\" color=\"{color}\" alpha=\"255\"/>\n"
            );
        }
    }
    format!(
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis styleCategories=\"Symbology\">\n  <pipe>\n    \
         <rasterrenderer type=\"paletted\" band=\"1\" opacity=\"1\" alphaBand=\"-1\">\n      \
         <colorPalette>\n{entries}      </colorPalette>\n    </rasterrenderer>\n  </pipe>\n</qgis>\n"
    )
}
