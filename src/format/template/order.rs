//! Sorting, as Python's `sorted` does it.

use std::cmp::Ordering;

use super::compare::order;
use super::fault::Result;
use super::value::Value;

/// Values in the order of their keys; equal ones stay as they are, also when it is reversed.
pub(super) fn sorted<T: Clone>(
    values: Vec<T>,
    mut key: impl FnMut(&T) -> Value,
    reverse: bool,
) -> Result<Vec<T>> {
    let keys: Vec<Value> = values.iter().map(&mut key).collect();
    let mut places: Vec<usize> = (0..values.len()).collect();
    let mut failed = None;
    // The standard library's sort may ask about any two, Python's compares neighbours first: an
    // error is one for both, unless no two of its pairs that cannot be compared ever meet.
    places.sort_by(|&a, &b| {
        let (a, b) = if reverse { (b, a) } else { (a, b) };
        order(&keys[a], &keys[b], "<")
            .unwrap_or_else(|fault| {
                failed.get_or_insert(fault);
                None
            })
            .unwrap_or(Ordering::Equal)
    });
    match failed {
        Some(fault) => Err(fault),
        None => Ok(places.into_iter().map(|at| values[at].clone()).collect()),
    }
}
