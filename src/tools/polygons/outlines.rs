//! The outlines of all class regions of a map that is at hand.

use super::corners::Vertex;
use super::obstacles::Obstacles;
use super::regions::Region;
use super::simplify::simplified;
use super::trace::Tracer;
use crate::base::LabelMap;

/// A connected region of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tools) struct Outline {
    /// The class.
    pub(in crate::tools) class: u16,
    /// Its rings, the one around it first: corners of pixels.
    pub(in crate::tools) rings: Vec<Vec<Vertex>>,
}

/// The regions of a map but those of the class `left_out`; with `simplify`, outlines that may be that many pixels off.
pub(in crate::tools) fn outlines(map: &LabelMap, left_out: u16, simplify: Option<f64>) -> Vec<Outline> {
    let mut tracer = Tracer::new(map.size.width, Some(left_out), false, simplify.is_some());
    let mut found = Vec::new();
    let mut each = |region: Region, obstacles: Option<&Obstacles>| {
        let rings = region.rings.into_iter().map(|ring| simplified(ring, simplify, obstacles)).collect();
        found.push(Outline { class: region.value, rings });
    };
    for row in map.classes.chunks_exact(map.size.width.max(1)) {
        tracer.push(row, None, &mut each);
    }
    tracer.finish(&mut each);
    found
}

impl Vertex {
    /// Its column and row.
    pub(in crate::tools) fn point(self) -> [f64; 2] {
        [self.x.into(), self.y.into()]
    }
}
