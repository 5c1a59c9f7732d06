//! `wgpu-lora`: see `wgpu-lora --help`.

fn main() -> std::process::ExitCode {
    wgpu_lora::cli::main()
}
