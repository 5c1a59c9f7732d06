//! What an operation is: a kernel, its tensors, its parameters, and a CPU twin.

use super::{Form, Tensor, compose, shader};
use crate::{Error, Result};

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<uniform>`: a small table ([`Gpu::table`](super::Gpu::table)), whose loads are cheap everywhere.
    Table,
    /// `var<storage, read_write>`, every element written, none read.
    Write,
    /// `var<storage, read_write>`, read and written (accumulated, updated in place).
    Update,
}

/// What a kernel body needs beyond WebGPU's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the default limits and features.
    Nothing,
    /// Subgroup operations, and subgroups of exactly this size.
    Subgroup(u32),
    /// 16-bit floats in shaders, and an operation that allows them: its roles have [`HALF`].
    F16,
    /// Matrix units of 8 × 8 × 8 in f32 (Apple's).
    CooperativeF32,
    /// Matrix units of 16 × 16 × 16 that multiply f16 and add f32, and an operation that allows 16 bits.
    CooperativeF16,
}

impl Needs {
    /// Whether it takes an operation that allows 16 bits.
    pub(super) fn half(self) -> bool {
        matches!(self, Needs::F16 | Needs::CooperativeF16)
    }
}

/// The choice of an operation whose factors may be rounded to 16 bits. It opens bodies and closes none.
pub const HALF: (&str, &str) = ("precision", "half");

/// Roles that an operation need not choose, and the module of those that do not, which does nothing. A body with such a
/// role takes any of its modules, one without it only this.
pub(super) const FREE: [(&str, &str); 3] =
    [("input", "input_plain"), ("input4", "input4_plain"), ("branch", "branch_none")];

pub(super) fn is_free(role: &str) -> bool {
    FREE.iter().any(|(free, _)| *free == role)
}

fn is_idle(module: &str) -> bool {
    FREE.iter().any(|(_, idle)| *idle == module)
}

/// One spelling of a kernel.
#[derive(Debug)]
pub struct Body {
    /// `baseline`, or what is special about it.
    pub name: &'static str,
    /// The WGSL text of its file.
    pub source: &'static str,
    /// What the adapter must offer.
    pub needs: Needs,
    /// What it was written for: every choice of the operation must be among these, those of free
    /// roles excepted, which must be among the body's; empty: anything.
    pub only: &'static [&'static str],
}

impl Body {
    /// The roles on line 2 of the file: `// roles: a, b`.
    pub fn roles(&self) -> Vec<&'static str> {
        shader::roles(self.source)
    }

    /// Whether this body can be composed with the modules that the data decide.
    pub fn accepts(&self, roles: &[(&str, &str)]) -> bool {
        let allowed = !self.needs.half() || roles.contains(&HALF);
        // What is read one by one or by fours is one choice.
        fn kind(role: &str) -> &str {
            role.trim_end_matches('4')
        }
        let own = self.roles();
        let takes = |role: &str| own.iter().any(|own| kind(own) == kind(role));
        let mut others = roles.iter().filter(|role| **role != HALF);
        allowed
            && others.all(|&(role, module)| match is_free(role) {
                true => is_idle(module) || takes(role),
                false => self.only.is_empty() || self.only.contains(&module),
            })
    }
}

impl Access {
    /// Whether the kernel changes the tensor.
    pub fn writes(self) -> bool {
        matches!(self, Access::Write | Access::Update)
    }
}

/// A kernel: one name, one set of bindings, one or more bodies, the baseline first.
#[derive(Debug)]
pub struct Kernel {
    /// Name of file, entry point, twin, test and bench.
    pub name: &'static str,
    /// Bindings 1, 2, … in order (binding 0 is the uniform `Params`).
    pub bindings: &'static [(&'static str, Access)],
    /// The baseline, then the others.
    pub bodies: &'static [Body],
    /// Whether several of its operations may be [one dispatch](super::Recorder::record_together): its bodies name a
    /// storage binding only to index it.
    pub joins: bool,
}

/// The variant of a kernel that a device runs.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The body.
    pub body: &'static Body,
    /// One module per role of the body, in the order of its line 2.
    pub modules: Vec<&'static str>,
    /// The value of the override `WG`, where the variant decides it.
    pub workgroup: Option<u32>,
    /// What a dispatch covers.
    pub form: Form,
}

impl Selection {
    /// `rms_norm_fwd[baseline+reduce_workgroup]`, without modules that do nothing.
    pub fn name(&self) -> String {
        let mut pieces = vec![self.body.name];
        pieces.extend(self.modules.iter().filter(|module| !is_idle(module)));
        pieces.extend(self.form.name());
        format!("{}[{}]", self.kernel.name, pieces.join("+"))
    }

    /// The same for dispatches that cover something else.
    pub fn with(&self, form: Form) -> Selection {
        Selection { form, ..self.clone() }
    }

    /// The whole WGSL text.
    pub fn text(&self, target: super::Target) -> String {
        compose(self, target).text
    }
}

/// What one dispatch computes and moves, for benches and for cutting submissions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Floating-point operations (a multiply-add counts two).
    pub flops: u64,
    /// Bytes that must move: each input read once, each output written once.
    pub bytes: u64,
}

/// An operation: what to run on which tensors.
pub trait Op {
    /// The kernel's description.
    fn kernel(&self) -> &'static Kernel;
    /// The tensors, in binding order.
    fn tensors(&self) -> Vec<&Tensor>;
    /// The bytes of `Params`, laid out as in WGSL.
    fn params(&self) -> Vec<u8>;
    /// Checks every shape and says how many workgroups to run.
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]>;
    /// The modules that this operation's data decide: `[("weight", "weight_nf4")]`.
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
    /// Operations and bytes of this call.
    fn work(&self) -> Work {
        Work { flops: 0, bytes: self.tensors().iter().map(|t| t.bytes()).sum() }
    }
    /// How many times the work of an average workgroup the slowest ones do.
    fn skew(&self) -> u64 {
        1
    }
    /// The same computation on host copies of the tensors, in binding order.
    fn twin(&self, host: &mut HostBuffers);
    /// The largest difference between device and twin that arithmetic explains, relative to the
    /// largest magnitude of the output; the bound of unit tests and of verify mode.
    fn bound(&self) -> f32 {
        1e-5
    }
}

/// A host copy of a tensor.
#[derive(Clone, Debug)]
pub struct Host(pub Vec<u32>);

impl Host {
    /// As floats.
    pub fn f32(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
    /// As floats, to write.
    pub fn f32_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
    /// As words.
    pub fn u32(&self) -> &[u32] {
        &self.0
    }
    /// As words, to write.
    pub fn u32_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
    /// As bytes.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
    /// As bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Host copies of an operation's tensors, in binding order.
#[derive(Clone, Debug)]
pub struct HostBuffers(pub Vec<Host>);

impl HostBuffers {
    /// All of them at once, so that outputs can be written while inputs are read.
    pub fn all<const N: usize>(&mut self) -> [&mut Host; N] {
        let found = self.0.len();
        let all: Vec<&mut Host> = self.0.iter_mut().collect();
        all.try_into().unwrap_or_else(|_| panic!("a twin asked for {N} of {found} tensors"))
    }
}

/// Workgroups for `n` work items, spread over two dimensions where one is too short; the kernel
/// reads its index as `group.x + group.y * groups.x` and guards against the excess.
pub(crate) fn grid(n: usize) -> Result<[u32; 3]> {
    const MOST: usize = 65_535;
    let x = n.clamp(1, MOST);
    let y = n.div_ceil(x).max(1);
    if y > MOST {
        return Err(Error::OutOfMemory {
            what: "one dispatch, in workgroups".into(),
            needed_bytes: n as u64,
            limit_bytes: (MOST * MOST) as u64,
            hint: "Use a smaller batch".into(),
        });
    }
    Ok([x as u32, y as u32, 1])
}
