//! One file or folder per family of operations: bindings, `Params`, shape checks, dispatch, twin
//! call. [`ALL`] is the table that tests, benches and the shader dump walk.

#[macro_use]
mod kernel;

mod add_bias;
mod attention;
pub mod cases;
mod ceiling;
mod copy_rows;
mod cross_entropy;
mod dora;
mod dora_norm;
mod elementwise;
mod embed;
mod inputs;
mod linear;
mod lora;
mod optimizer;
mod pack;
mod rms_norm;
mod rope;
mod soft_target;
mod swiglu;
#[cfg(not(target_arch = "wasm32"))]
mod tune;
mod weight;

pub use add_bias::*;
pub use attention::*;
pub use ceiling::*;
pub use copy_rows::*;
pub use cross_entropy::*;
pub use dora::*;
pub use dora_norm::*;
pub use elementwise::*;
pub use embed::*;
pub use linear::*;
pub use lora::*;
pub use optimizer::*;
pub use pack::*;
pub use rms_norm::*;
pub use rope::*;
pub use soft_target::*;
pub use swiglu::*;
#[cfg(not(target_arch = "wasm32"))]
pub use tune::{Contest, Tuned, tune};
pub use weight::{Dense, Kept, Matrix, Nf4Words, Storage, words_of};

use crate::gpu::Kernel;
use cases::Case;
use kernel::{Length, elements, fours, params};

/// The cases of every family, those that matter most first.
const FAMILIES: &[&[Case]] = &[
    linear::CASES,
    lora::CASES,
    attention::CASES,
    rms_norm::CASES,
    rope::CASES,
    swiglu::CASES,
    embed::CASES,
    cross_entropy::CASES,
    soft_target::CASES,
    optimizer::CASES,
    dora_norm::CASES,
    dora::CASES,
    elementwise::CASES,
    add_bias::CASES,
    pack::CASES,
    copy_rows::CASES,
    ceiling::CASES,
];

/// The case of every kernel.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    FAMILIES.iter().copied().flatten()
}

/// Every kernel: those of the cases.
pub static ALL: &[&Kernel] = &{
    let mut all = [FAMILIES[0][0].kernel; KERNELS];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut case = 0;
        while case < FAMILIES[family].len() {
            all[at] = FAMILIES[family][case].kernel;
            (case, at) = (case + 1, at + 1);
        }
        family += 1;
    }
    all
};

const KERNELS: usize = {
    let (mut family, mut all) = (0, 0);
    while family < FAMILIES.len() {
        (family, all) = (family + 1, all + FAMILIES[family].len());
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Context, Gpu, GpuOptions};
    use crate::kernels::ALL;
    use crate::kernels::cases::Inputs;

    #[test]
    fn what_operations_decide_is_in_the_table_that_runs_record() {
        let options = GpuOptions { validate_only: true, ..GpuOptions::default() };
        let gpu = pollster::block_on(Gpu::with(options)).unwrap();
        let (inputs, table) = (Inputs::new(&gpu), gpu.caps().variants(ALL));
        for case in cases() {
            (case.run)(&inputs, case.small[0], &mut |op| {
                let key = op.kernel().in_context(&Context { half: false, ..op.context() });
                assert!(table.contains_key(&key), "{key}");
                Ok(())
            })
            .unwrap();
        }
    }
}
