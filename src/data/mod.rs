//! Rows in, batches out: reads records of JSONL, CSV or Parquet, takes them for rows, tokenizes
//! them with the prompt masked as TRL does, and hands out micro-batches in an order that depends on
//! the seed and the epoch alone. Nothing here knows the device; everything here works on wasm32 too
//! (rows come from any reader).

pub mod batch;
mod chat_row;
mod csv;
pub mod dataset;
mod encode;
mod lines;
pub mod order;
mod parquet;
mod pieces;
pub mod records;
mod report;
pub mod rows;
mod signature;
pub mod soft;
mod store;
mod tokenized_row;
pub mod trie;
mod turns;

pub use batch::{Batch, IGNORE, Segment, Target};
pub use chat_row::Chat;
pub use dataset::{Dataset, DatasetOptions, MAX_LENGTH};
pub use encode::{Encode, LossOn};
pub use order::{Loader, LoaderOptions, Position, epoch_order, length_grouped_order, packs};
pub use parquet::decoding_parquet;
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use records::bytes_value;
pub(crate) use records::no_text;
pub use records::{Record, for_each_record, for_each_record_in};
pub use report::DatasetReport;
pub use rows::{ColumnMap, Row, instruction_prompt};
pub use soft::{NumberLoss, NumberTerm, NumberTokens, NumberWidth, SoftTargets};
pub use tokenized_row::TokenizedRow;
