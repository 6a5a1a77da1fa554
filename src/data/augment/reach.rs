//! How large samples get.

use super::{Augmentation, Change};
use crate::base::Size;

/// The least size that holds every image of `sizes`, each as large as it can be after all of `augmentations`.
pub fn largest_after_all(augmentations: &[Augmentation], sizes: &[Size]) -> Size {
    let nothing = Size { width: 0, height: 0 };
    sizes.iter().fold(nothing, |largest, size| enclosing(largest, largest_after(augmentations, *size)))
}

/// The largest size that an image of `size` can have after all of `augmentations`.
pub fn largest_after(augmentations: &[Augmentation], size: Size) -> Size {
    augmentations.iter().fold(size, |size, augmentation| {
        let changed = changed(&augmentation.change, size);
        // It may also stay as it is.
        if augmentation.probability < 1.0 { enclosing(size, changed) } else { changed }
    })
}

fn changed(change: &Change, size: Size) -> Size {
    match change {
        Change::Crop { size, .. } | Change::Resize { size } => size.size(),
        Change::Rotate90 {} => enclosing(size, Size { width: size.height, height: size.width }),
        Change::Scale { max, aspect, .. } => {
            let stretch = aspect.map_or(1.0, |[low, high]| high.max(1.0 / low).sqrt());
            let side = |side: usize| (side as f64 * max * stretch).ceil() as usize;
            Size { width: side(size.width), height: side(size.height) }
        }
        Change::ResizeShort { sides, longest, multiple } => {
            let short = sides.iter().copied().max().unwrap_or_default() as f64;
            let factor = short / size.width.min(size.height).max(1) as f64;
            let most =
                longest.map_or(f64::INFINITY, |longest| longest as f64 / size.width.max(size.height).max(1) as f64);
            let side = |side: usize| ((side as f64 * factor.min(most)).ceil() as usize).next_multiple_of(*multiple);
            Size { width: side(size.width), height: side(size.height) }
        }
        Change::FlipHorizontal {}
        | Change::FlipVertical {}
        | Change::Rotate180 {}
        | Change::Rotate { .. }
        | Change::ColorJitter { .. }
        | Change::Blur { .. }
        | Change::Noise { .. } => size,
    }
}

fn enclosing(a: Size, b: Size) -> Size {
    Size { width: a.width.max(b.width), height: a.height.max(b.height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_changes() {
        let after = |text: &str| {
            let list = Augmentation::parse_list(text).unwrap();
            let Size { width, height } = largest_after(&list, Size { width: 640, height: 480 });
            (width, height)
        };
        assert_eq!(after("flip-horizontal,rotate=10"), (640, 480));
        assert_eq!(after("scale=0.5:2"), (1280, 960));
        assert_eq!(after("scale=0.5:2,crop=473"), (473, 473));
        assert_eq!(after("rotate90"), (640, 640));
        let list = Augmentation::parse_list("resize-short=300").unwrap();
        let sizes = [[1000, 200], [200, 400]].map(|[width, height]| Size { width, height });
        assert_eq!(largest_after_all(&list, &sizes), Size { width: 1500, height: 600 });
    }
}
