//! How exactly a model computes.

use serde::{Deserialize, Serialize};

/// How many bits activations and products have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// What waits for the backward pass is kept at 16 bits; and products with frozen weights round
    /// their factors to 16 bits where the adapter has `shader-f16` and gains by it. Sums are f32.
    Mixed,
}
