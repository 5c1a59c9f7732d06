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
}

impl Default for GenerateOptions {
    fn default() -> GenerateOptions {
        GenerateOptions { max_new_tokens: 8, sampler: SamplerOptions::default(), stop: Vec::new() }
    }
}
