//! Level 1 ([`no_op`]) and level 3 ([`harness`]): every kernel, in every variant, first where
//! nothing is computed and everything checked, then against its CPU twin.
#![allow(clippy::print_stdout, reason = "every case says its error and its bound")]

mod attention;
mod attention_gather;
mod ceiling;
mod copy_rows;
mod cross_entropy;
mod dora;
mod elementwise;
mod embed;
mod harness;
mod images;
mod linear;
mod no_op;
mod optimizer;
mod rms_norm;
mod rope;
mod rope_append;
mod soft_target;
mod swiglu;
mod together;
mod tune;
mod units;

fn main() -> std::process::ExitCode {
    let families = vec![
        attention::cases(),
        attention_gather::cases(),
        embed::cases(),
        ceiling::cases(),
        copy_rows::cases(),
        linear::cases(),
        rms_norm::cases(),
        rope::cases(),
        rope_append::cases(),
        swiglu::cases(),
        cross_entropy::cases(),
        soft_target::cases(),
        optimizer::cases(),
        dora::cases(),
        elementwise::cases(),
    ];
    let mut trials = no_op::trials(&families);
    trials.extend(images::trials(&families));
    trials.extend(harness::trials(families));
    trials.extend(together::trials());
    trials.extend(tune::trials());
    trials.extend(units::trials());
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), trials).exit_code()
}
