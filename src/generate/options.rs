//! How to generate.

use super::sampler::SamplerOptions;

/// Settings of an answer.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Tokens after the prompt, at most.
    pub max_new_tokens: usize,
    /// How to choose tokens.
    pub sampler: SamplerOptions,
    /// Texts that end the answer and do not belong to it. They may begin in the prompt, and special
    /// tokens count as they are written.
    pub stop: Vec<String>,
    /// Tokens that end the answer beside the model's own, such as the one that ends a turn of a
    /// chat ([`ChatFormat::end_token`](super::ChatFormat::end_token)).
    pub end_tokens: Vec<u32>,
}

impl Default for GenerateOptions {
    fn default() -> GenerateOptions {
        GenerateOptions {
            max_new_tokens: 256,
            sampler: SamplerOptions::default(),
            stop: Vec::new(),
            end_tokens: Vec::new(),
        }
    }
}
