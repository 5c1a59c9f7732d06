//! Level 3: every kernel, in every variant that the adapter has, against its CPU twin.
#![allow(clippy::print_stdout, reason = "every case says its error and its bound")]

mod attention;
mod copy_rows;
mod cross_entropy;
mod dora;
mod elementwise;
mod embed;
mod harness;
mod linear;
mod optimizer;
mod rms_norm;
mod rope;
mod swiglu;

fn main() -> std::process::ExitCode {
    harness::run(vec![
        attention::cases(),
        embed::cases(),
        copy_rows::cases(),
        linear::cases(),
        rms_norm::cases(),
        rope::cases(),
        swiglu::cases(),
        cross_entropy::cases(),
        optimizer::cases(),
        dora::cases(),
        elementwise::cases(),
    ])
}
