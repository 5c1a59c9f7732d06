//! Level 3: every kernel, in every variant that the adapter has, against its CPU twin.

mod attention;
mod harness;
mod rms_norm;

fn main() -> std::process::ExitCode {
    harness::run(vec![rms_norm::cases(), attention::cases()])
}
