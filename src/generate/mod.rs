//! Text from logits: how the next token is chosen, and a whole answer token by token.

mod next;
pub mod sampler;
mod stops;
pub mod stream;

pub use next::next_tokens;
pub use sampler::{Candidate, Sampler, SamplerOptions, argmax, probabilities, top};
pub use stops::Stops;
pub use stream::{Finish, GenerateOptions, Generator, Timings, Token, prompt_ids};
