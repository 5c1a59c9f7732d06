//! Level 4: the model as a whole on the adapter, beyond what goldens can say: equalities between
//! two ways to the same numbers, edges of shapes, and errors. The models are those of
//! `tests/golden`.

mod adapters;
mod browser;
mod chat;
mod events;
mod faults;
mod gguf;
mod growth;
mod inference;
mod memory;
mod prices;
mod ranks;
mod setup;
mod shards;
mod slots;
mod submissions;
mod targets;
mod training;

#[allow(dead_code, reason = "models are written by tests of the program")]
#[path = "../common/tiny.rs"]
mod tiny;
