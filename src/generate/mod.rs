//! Text from logits: how the next token is chosen, and a whole answer token by token.

mod answer;
mod many;
mod next;
mod options;
mod prompt;
mod sampler;
mod stops;
mod stream;

pub use answer::{Finish, Token};
pub use many::{Sample, samples};
pub use next::next_tokens;
pub use options::GenerateOptions;
pub use prompt::{bos_note, prompt_ids, prompt_notes};
pub use sampler::{Candidate, Sampler, SamplerOptions, argmax, penalize, probabilities, top};
pub use stream::{Generator, Timings};
