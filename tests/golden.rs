//! Walks a golden set, made by PyTorch, transformers, PEFT and bitsandbytes: every case runs
//! through the library's `Model` and `Trainer` on the adapter, with each kernel policy.
//!
//! The set is `tests/golden` with `tests/golden_families`, or the folder that `WGPU_LORA_GOLDEN`
//! names. What is run follows from the files that lie there; `WGPU_LORA_DEVICE` picks an adapter.
#![allow(clippy::print_stdout, reason = "every comparison says its error and its bound")]
#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must fail, not pass")]

mod golden_runner;

fn main() -> std::process::ExitCode {
    golden_runner::run()
}
