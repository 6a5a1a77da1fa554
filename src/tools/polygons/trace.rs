//! Outlines of the regions of a label map, traced while its rows arrive.
//!
//! A sweep over the vertices between two rows of pixels. At each vertex up to four edges meet at which the value changes; each
//! is part of two rings, one of the region on either side, which has it on its left. What is known of a ring grows at both
//! ends: its end waits for the corner that follows, its beginning for the one before.

use super::corners::{Corner, Corners, NONE, Vertex};
use super::obstacles::Obstacles;
use super::regions::{Region, Regions};

/// Pixels without a class, and the surroundings of the image. Smaller numbers are label values.
const BLANK: u32 = 1 << 16;
const OUTSIDE: u32 = BLANK + 1;

/// Takes a region that has ended and, where lines are simplified, the vertices that they must not cross.
type Each<'a> = &'a mut dyn FnMut(Region, Option<&Obstacles>);

/// Regions of a label map, whose rows come one after the other.
#[derive(Debug)]
pub(super) struct Tracer {
    /// The value of pixels without a class.
    blank: Option<u16>,
    /// Whether nodes are corners where a ring goes straight on.
    keep_nodes: bool,
    /// Rows so far.
    rows: u32,
    /// The last two rows, with the outside on both sides.
    above: Vec<u32>,
    below: Vec<u32>,
    regions: Regions,
    corners: Corners,
    /// For each vertical edge between the rows: the end of the ring to its right, which goes down, and the beginning of the
    /// one to its left, which goes up.
    down: Vec<u32>,
    up: Vec<u32>,
    obstacles: Option<Obstacles>,
}

/// Where a ring comes from, or goes to, at a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Above,
    Right,
    Below,
}

/// Edges along which the value changes, from a vertex.
#[derive(Debug, Clone, Copy)]
struct Edges {
    left: bool,
    above: bool,
    right: bool,
    below: bool,
}

/// Known parts of the rings along the edges of a vertex: of those along the edge to the left, the end of the upper one and the
/// beginning of the lower one; and so on.
#[derive(Debug, Clone, Copy)]
struct Ends {
    right: u32,
    left: u32,
    down: u32,
    up: u32,
}

impl Tracer {
    /// Of maps of this width. With `simplify`, corners are kept that lines are simplified between, and all that is needed to
    /// see whether one would cross another.
    pub(super) fn new(width: usize, blank: Option<u16>, keep_nodes: bool, simplify: bool) -> Self {
        Self {
            blank,
            keep_nodes: keep_nodes || simplify,
            rows: 0,
            above: vec![OUTSIDE; width + 2],
            below: vec![OUTSIDE; width + 2],
            regions: Regions::new(width),
            corners: Corners::default(),
            down: vec![NONE; width + 1],
            up: vec![NONE; width + 1],
            obstacles: simplify.then(Obstacles::default),
        }
    }

    /// Takes the next row; hands on the regions that end above it.
    pub(super) fn push(&mut self, values: &[u16], probability: Option<&[f32]>, each: Each<'_>) {
        self.shift();
        let blank = self.blank;
        let cell = |&value: &u16| if Some(value) == blank { BLANK } else { value.into() };
        let width = values.len();
        self.below[1..=width].iter_mut().zip(values).for_each(|(to, value)| *to = cell(value));
        self.advance(probability, each);
        self.rows += 1;
    }

    /// Hands on the regions that the last row ends.
    pub(super) fn finish(mut self, each: Each<'_>) {
        self.shift();
        self.below.fill(OUTSIDE);
        self.advance(None, each);
    }

    /// How many corners and regions there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> (usize, usize) {
        (self.corners.capacity(), self.regions.capacity())
    }

    fn shift(&mut self) {
        std::mem::swap(&mut self.above, &mut self.below);
    }

    fn advance(&mut self, probability: Option<&[f32]>, each: Each<'_>) {
        let inner = 1..self.below.len() - 1;
        let rows = [&self.above[inner.clone()], &self.below[inner]];
        let value_of = |cell: u32| u16::try_from(cell).ok();
        let ended = self.regions.push(self.rows, rows, value_of, probability);
        self.sweep();
        for region in ended {
            let open = self.regions.close(region);
            let rings = self.corners.take(&open.births);
            let probability = open.probability / open.pixels as f64;
            each(Region { value: open.value, pixels: open.pixels, probability, rings }, self.obstacles.as_ref());
        }
        if let Some(obstacles) = &mut self.obstacles {
            obstacles.keep_from(self.regions.live().map(|open| open.top).min().unwrap_or(self.rows));
        }
    }

    /// Links what the vertices above the last row join.
    fn sweep(&mut self) {
        let (mut right, mut left) = (NONE, NONE);
        let mut found = Vec::new();
        for x in 0..self.down.len() {
            let ([a, b], [c, d]) = ([self.above[x], self.above[x + 1]], [self.below[x], self.below[x + 1]]);
            // Inside a region, or along a straight edge.
            if (a == b && c == d) || (a == c && b == d) {
                continue;
            }
            found.push(x as u32);
            let ends = Ends { right, left, down: self.down[x], up: self.up[x] };
            let after = self.join(x, [a, b, c, d], ends);
            (right, left) = (after.right, after.left);
            (self.down[x], self.up[x]) = (after.down, after.up);
        }
        if let Some(obstacles) = &mut self.obstacles {
            obstacles.push(found);
        }
    }

    /// Links the rings that pass a vertex between these pixels, and says what is known of them beyond it.
    fn join(&mut self, x: usize, [a, b, c, d]: [u32; 4], before: Ends) -> Ends {
        let edges = Edges { left: a != c, above: a != b, right: b != d, below: c != d };
        let degree = [edges.left, edges.above, edges.right, edges.below].into_iter().filter(|edge| *edge).count();
        let is_edge_of_image = [a, b, c, d].contains(&OUTSIDE);
        let corner = Corner {
            at: Vertex { y: self.rows, x: x as u32 },
            node: degree > 2 || is_edge_of_image,
            pinch: degree == 4 && (a == d || b == c),
        };
        let mut after = Ends { right: NONE, left: NONE, down: NONE, up: NONE };
        // The pixel whose ring comes along an edge has that edge on its own side.
        let coming = [
            (Side::Left, edges.left, a, x.wrapping_sub(1)),
            (Side::Above, edges.above, b, x),
            (Side::Right, edges.right, d, x),
            (Side::Below, edges.below, c, x.wrapping_sub(1)),
        ];
        for (from, is_edge, pixel, column) in coming {
            if !is_edge || pixel >= BLANK {
                continue;
            }
            let to = edges.way_on(from);
            if to == from.opposite() && !(corner.node && self.keep_nodes) {
                after.pass(from, before);
                continue;
            }
            let next = match to {
                Side::Left => before.left,
                Side::Above => before.up,
                Side::Right | Side::Below => NONE,
            };
            let place = self.corners.add(corner, next);
            match from {
                Side::Left => self.corners.link(before.right, place),
                Side::Above => self.corners.link(before.down, place),
                Side::Right => after.left = place,
                Side::Below => after.up = place,
            }
            match to {
                Side::Right => after.right = place,
                Side::Below => after.down = place,
                Side::Left | Side::Above => {}
            }
            // Known at neither end: every ring has such a corner at its top.
            if matches!((from, to), (Side::Right, Side::Below) | (Side::Below, Side::Right)) {
                self.regions.at(column).births.push(place);
            }
        }
        after
    }
}

impl Side {
    fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Above => Self::Below,
            Self::Right => Self::Left,
            Self::Below => Self::Above,
        }
    }
}

impl Edges {
    fn has(self, side: Side) -> bool {
        match side {
            Side::Left => self.left,
            Side::Above => self.above,
            Side::Right => self.right,
            Side::Below => self.below,
        }
    }

    /// Where a ring goes that comes from there: to the left if it can, so that it stays with its pixel.
    fn way_on(self, from: Side) -> Side {
        let ways = match from {
            Side::Left => [Side::Above, Side::Right, Side::Below],
            Side::Above => [Side::Right, Side::Below, Side::Left],
            Side::Right => [Side::Below, Side::Left, Side::Above],
            Side::Below => [Side::Left, Side::Above, Side::Right],
        };
        ways.into_iter().find(|way| self.has(*way)).unwrap_or(from)
    }
}

impl Ends {
    /// A ring goes straight on.
    fn pass(&mut self, from: Side, before: Self) {
        match from {
            Side::Left => self.right = before.right,
            Side::Above => self.down = before.down,
            Side::Right => self.left = before.left,
            Side::Below => self.up = before.up,
        }
    }
}
