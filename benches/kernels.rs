//! `cargo bench --bench kernels -- [FILTER] [--shape MxNxK] [--all-variants]`: every kernel at its
//! usual size, refused if its result differs from the twin's. The same as `wgpu-lora bench`.

fn main() -> std::process::ExitCode {
    let args = std::env::args().skip(1).filter(|a| a != "--bench");
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_wgpu-lora"))
        .arg("bench")
        .args(args)
        .status();
    match status {
        Ok(status) if status.success() => std::process::ExitCode::SUCCESS,
        _ => std::process::ExitCode::FAILURE,
    }
}
