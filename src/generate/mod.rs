//! Text from logits: how the next token is chosen.

pub mod sampler;

pub use sampler::{Candidate, Sampler, SamplerOptions, argmax, probabilities, top};
