//! Walks a golden set, made by PyTorch, transformers, PEFT and bitsandbytes: every case runs through
//! the library's `Model` and `Trainer` on the adapter, with each kernel policy.
//!
//! The set is `tests/golden`, or the folder that `WGPU_LORA_GOLDEN` names. What is run follows from
//! the files that lie there; `WGPU_LORA_DEVICE` picks an adapter.

mod golden_runner;

fn main() -> std::process::ExitCode {
    golden_runner::run()
}
