//! How an output is divided among workgroups.

use crate::{Error, Result};

/// How much of a kernel's output a body makes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// Rows and columns of a workgroup.
    Group([usize; 2]),
    /// Rows and columns of an invocation, 64 of which are a workgroup.
    Each([usize; 2]),
    /// Whole rows of a workgroup.
    Rows(usize),
    /// Whole rows of a workgroup: as many as have this many elements, and at least the second
    /// number.
    Elements(usize, usize),
    /// The kernel has one body; its operation knows.
    Only,
}

impl Tile {
    /// Workgroups for a matrix: of [`Tile::Group`] over columns and rows, else over one number.
    pub(crate) fn matrix(self, rows: usize, columns: usize) -> Result<[u32; 3]> {
        match self {
            Tile::Group([high, wide]) => {
                Ok([columns.div_ceil(wide) as u32, rows.div_ceil(high) as u32, 1])
            }
            _ => self.flat(columns, |high| rows.div_ceil(high)),
        }
    }

    /// Workgroups, over one number, for rows of `columns`; `blocks` says how many blocks of so many
    /// rows there are.
    pub(crate) fn flat(
        self,
        columns: usize,
        blocks: impl FnOnce(usize) -> usize,
    ) -> Result<[u32; 3]> {
        let (high, wide, invocations) = match self {
            Tile::Group([high, wide]) => (high, wide, 1),
            Tile::Each([high, wide]) => (high, wide, 64),
            Tile::Rows(high) => (high, columns, 1),
            Tile::Elements(all, least) => ((all / columns).max(least), columns, 1),
            Tile::Only => (1, 1, 64),
        };
        grid((blocks(high) * columns.div_ceil(wide)).div_ceil(invocations))
    }
}

/// Workgroups for `n` work items, spread over two dimensions where one is too short; the kernel
/// reads its index as `group.x + group.y * groups.x` and guards against the excess.
pub(crate) fn grid(n: usize) -> Result<[u32; 3]> {
    const MOST: usize = 65_535;
    let x = n.clamp(1, MOST);
    let y = n.div_ceil(x).max(1);
    if y > MOST {
        return Err(Error::OutOfMemory {
            what: "one dispatch, in workgroups".into(),
            needed_bytes: n as u64,
            limit_bytes: (MOST * MOST) as u64,
            hint: "Use a smaller batch".into(),
        });
    }
    Ok([x as u32, y as u32, 1])
}
