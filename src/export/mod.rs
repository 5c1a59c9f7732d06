//! Results in other forms: adapters merged into weights.

mod merge;

pub use merge::{Delta, merged_weight};
