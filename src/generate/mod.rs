//! Text from logits: how the next token is chosen, and a whole answer token by token.

mod answer;
mod chat;
mod chat_format;
mod decoding;
mod many;
mod next;
mod options;
mod prompt;
mod sampler;
mod stops;
mod stream;

pub use answer::{Finish, Token};
pub use chat::{ChatSession, Turn};
pub use chat_format::{ChatFormat, PromptFormat};
pub use decoding::Timings;
pub use many::{Sample, samples};
pub use next::next_tokens;
pub use options::GenerateOptions;
pub use prompt::{bos_note, prompt_ids, prompt_notes};
pub use sampler::{Candidate, Sampler, SamplerOptions, argmax, penalize, probabilities, top};
pub use stream::Generator;
