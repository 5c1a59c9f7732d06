//! Level 3: every kernel, in every variant that the adapter has, against its CPU twin.

mod elementwise;
mod embed;
mod harness;
mod rms_norm;
mod swiglu;

fn main() -> std::process::ExitCode {
    harness::run(vec![embed::cases(), rms_norm::cases(), swiglu::cases(), elementwise::cases()])
}
