//! Vertices at which outlines turn or meet, by rows.

use std::collections::VecDeque;

use super::corners::Vertex;

/// Vertices that a simplified line must leave on the side on which they are.
#[derive(Debug, Default)]
pub(super) struct Obstacles {
    /// The row of the first of the rows.
    first: u32,
    /// Columns of the vertices of each row, in order.
    rows: VecDeque<Vec<u32>>,
}

impl Obstacles {
    /// Adds those of the next row, from left to right.
    pub(super) fn push(&mut self, columns: Vec<u32>) {
        self.rows.push_back(columns);
    }

    /// Forgets the rows above.
    pub(super) fn keep_from(&mut self, row: u32) {
        while self.first < row && self.rows.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Those of a row from one column to another.
    pub(super) fn between(&self, row: u32, [left, right]: [u32; 2]) -> impl Iterator<Item = Vertex> {
        let row_at = row.checked_sub(self.first).and_then(|at| self.rows.get(at as usize));
        let columns = row_at.map_or(&[][..], Vec::as_slice);
        let start = columns.partition_point(|&x| x < left);
        columns[start..].iter().take_while(move |&&x| x <= right).map(move |&x| Vertex { y: row, x })
    }
}
