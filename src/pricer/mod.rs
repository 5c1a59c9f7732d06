//! Prices from product descriptions, as the course "The Price is Right"
//! (github.com/ed-donner/llm_engineering) does it: prompt, parser, metrics and presets to the
//! letter; the distribution over prices; baselines. Everything here works on wasm32 too and knows
//! no files.

pub mod baselines;
pub mod beside;
pub mod blend;
pub mod columns;
pub mod distribution;
pub mod dollars;
pub mod familiar;
pub mod metrics;
pub mod neighbours;
pub mod parse;
pub mod preset;
pub mod product;
pub mod prompt;

pub use crate::data::trie;
pub use distribution::{Distribution, PriceModel, PriceOptions, Priced};
pub use metrics::{Colour, Guess, Metrics};
pub use product::Product;
