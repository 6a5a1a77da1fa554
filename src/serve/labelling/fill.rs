//! Predictions of trained models as labels to correct.

use std::path::Path;

use super::classes::LabelClass;
use crate::base::{Error, Result, Size};
use crate::predict::Prediction;

/// The label values of a prediction: of each of its classes the value of the painted class of the same name, else of the same
/// value; 0, not labelled, where there is neither.
pub(super) fn as_labels(prediction: &Prediction, classes: &[LabelClass], size: Size, image: &Path) -> Result<Vec<u8>> {
    if prediction.size() != size {
        let reason = format!("was predicted as {}, but is {size}", prediction.size());
        return Err(Error::content(image, reason));
    }
    let same = |name: &str, other: &str| name.trim().to_lowercase() == other.trim().to_lowercase();
    let value = |class: &crate::data::Class| {
        let named = classes.iter().find(|own| same(&own.name, &class.name));
        let valued = || classes.iter().find(|own| class.values.contains(&u16::from(own.value)));
        named.or_else(valued).map_or(0, |own| own.value)
    };
    let values: Vec<u8> = prediction.dataset.classes.iter().map(value).collect();
    let of = |class: &u16| values.get(usize::from(*class)).copied().unwrap_or(0);
    Ok(prediction.labels.classes.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::LabelMap;
    use crate::base::label_map::IGNORE;
    use crate::data::Dataset;
    use crate::serve::labelling::classes::first;

    #[test]
    fn classes_are_matched_by_name_before_value() {
        let size = Size { width: 3, height: 2 };
        let labels = LabelMap { size, classes: vec![0, 1, 2, 3, IGNORE, 1] };
        let dataset = Arc::new(Dataset::find("core").unwrap());
        let prediction = Prediction { labels, probability: None, probabilities: None, dataset };
        let mut classes = first();
        // The core's class 2, rubble, has another value here, and its class 1 is known by its value alone.
        classes[1] = LabelClass { value: 9, name: "Rubble".into(), ..classes[1].clone() };
        assert_eq!(as_labels(&prediction, &classes, size, Path::new("a")).unwrap(), [1, 9, 0, 0, 0, 9]);
        assert!(as_labels(&prediction, &classes, Size { width: 2, height: 3 }, Path::new("a")).is_err());
    }
}
