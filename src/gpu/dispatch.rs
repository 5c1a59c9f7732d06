//! What is going to be a dispatch: one operation, or several
//! ([`Form::Together`](super::Form::Together)).

use super::form::{BINDINGS, MOST, part_bytes};
use super::variant::Variant;
use super::{Op, Tensor, Work};
use crate::Result;
use std::borrow::Cow;

/// Bytes of one `Params` in the uniform ring: a multiple of the alignment that WebGPU guarantees,
/// with room for the parameters of several operations.
pub(super) const SLOT: usize = 512;
/// Dispatches of one submission, so that the ring has a fixed size.
pub(super) const SLOTS: usize = 1024;

/// Bytes of the ring that holds the parameters of a submission's dispatches.
pub const PARAMS_BYTES: u64 = (SLOT * SLOTS) as u64;

/// Workgroups along an axis that WebGPU guarantees.
const MOST_GROUPS: u32 = 65_535;

/// What is going to be recorded: one operation, or several together.
pub(super) struct Dispatch<'a> {
    pub(super) tensors: Vec<Cow<'a, Tensor>>,
    /// What stands behind [`part_bytes`] unless it is whole.
    pub(super) params: Vec<u8>,
    pub(super) grid: [u32; 3],
    pub(super) work: Work,
    pub(super) skew: u64,
}

impl<'a> Dispatch<'a> {
    /// One operation.
    pub(super) fn one(op: &'a dyn Op, grid: [u32; 3]) -> Dispatch<'a> {
        let tensors = op.tensors().into_iter().map(Cow::Borrowed).collect();
        Dispatch { tensors, params: op.params(), grid, work: op.work(), skew: op.skew() }
    }

    /// One dispatch for operations in one variant, or nothing if they cannot share one: their grids
    /// differ but in x, or their tensors lie in different buffers, or two write the same elements.
    pub(super) fn together(ops: &[&'a dyn Op], variant: &Variant) -> Result<Option<Dispatch<'a>>> {
        let selection = &variant.selection;
        let bindings = selection.kernel.bindings;
        if !(2..=MOST).contains(&ops.len()) || bindings.len() > BINDINGS {
            return Ok(None);
        }
        let mut grids = Vec::new();
        for op in ops {
            grids.push(op.dispatch(selection)?);
        }
        let tensors: Vec<Vec<&Tensor>> = ops.iter().map(|op| op.tensors()).collect();
        let alike = |grid: &[u32; 3]| grid[1..] == grids[0][1..] && !grid.contains(&0);
        if !grids.iter().all(alike) {
            return Ok(None);
        }
        let (mut shared, mut places) = (Vec::new(), [0; MOST * BINDINGS]);
        for (number, (_, access)) in bindings.iter().enumerate() {
            let of = |op: usize| tensors[op][number];
            let Some(first) = (0..ops.len()).map(of).min_by_key(|t| t.offset) else {
                return Ok(None);
            };
            let apart = |op: usize| of(op).offset - first.offset;
            let words = variant.words[number];
            for op in 0..ops.len() {
                if of(op).buffer.id != first.buffer.id || (words.is_none() && apart(op) > 0) {
                    return Ok(None);
                }
                places[op * BINDINGS + number] = (apart(op) / words.unwrap_or(1)) as u32;
            }
            let ends = |op: usize| apart(op) + of(op).len();
            let overlap = || {
                let mut all: Vec<_> = (0..ops.len()).map(|op| (apart(op), ends(op))).collect();
                all.sort_unstable();
                all.windows(2).any(|w| w[0].1 > w[1].0)
            };
            if access.writes() && overlap() {
                return Ok(None);
            }
            let all = (0..ops.len()).map(ends).max().unwrap_or_default();
            shared.push(Cow::Owned(first.reaching(&[all], first.name())?));
        }
        let mut starts = [0; MOST + 1];
        for i in 0..MOST {
            starts[i + 1] = starts[i] + grids.get(i).map_or(0, |grid| grid[0]);
        }
        if starts[MOST] > MOST_GROUPS {
            return Ok(None);
        }
        let mut params: Vec<u8> = bytemuck::bytes_of(&starts).to_vec();
        params.extend_from_slice(bytemuck::bytes_of(&places));
        for op in ops {
            params.extend_from_slice(&op.params());
            params.resize(params.len().next_multiple_of(16), 0);
        }
        if params.len() + part_bytes([0; 3], [0; 3]).len() > SLOT {
            return Ok(None);
        }
        let sum = |f: fn(&Work) -> u64| ops.iter().map(|op| f(&op.work())).sum();
        let work = Work { flops: sum(|w| w.flops), bytes: sum(|w| w.bytes) };
        let skew = ops.iter().map(|op| op.skew()).max().unwrap_or(1);
        let grid = [starts[MOST], grids[0][1], grids[0][2]];
        Ok(Some(Dispatch { tensors: shared, params, grid, work, skew }))
    }
}
