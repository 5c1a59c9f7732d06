//! Charts: of a run for the terminal (`braille`), of anything with axes as SVG and PNG (`chart`),
//! and how the numbers of `metrics.jsonl` become series (`series`). Native only; nothing here
//! prints.

pub mod braille;
pub mod chart;
pub mod series;
