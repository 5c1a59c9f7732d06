//! What a kernel is: one name, one set of bindings, and bodies, each of which says in one row what
//! it needs, where it is worth running, which data it takes and how much of the output a workgroup
//! makes.

use super::adapter::AdapterReport;
use super::context::{Context, HEADS, Prologue, Rank, Takes, Weight};
use super::shader::Source;
use super::tile::Tile;

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<uniform>`: a small table ([`Gpu::table`](super::Gpu::table)), whose loads are cheap
    /// everywhere.
    Table,
    /// `var<storage, read_write>`, every element written, none read.
    Write,
    /// `var<storage, read_write>`, read and written (accumulated, updated in place).
    Update,
}

impl Access {
    /// Whether the kernel changes the tensor.
    pub fn writes(self) -> bool {
        matches!(self, Access::Write | Access::Update)
    }
}

/// What a kernel body needs beyond WebGPU's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the default limits and features.
    Nothing,
    /// Subgroup operations, and subgroups of at least and at most so many invocations, whichever
    /// size the driver chooses.
    Subgroups(u32, u32),
    /// 16-bit floats in shaders, and an operation that allows them ([`Context::half`]).
    F16,
    /// Matrix units that multiply what the operation allows ([`Context::half`]) and add f32:
    /// [`Units`](super::Units).
    Units,
}

impl Needs {
    /// Whether it takes an operation that allows 16 bits.
    fn half(self) -> bool {
        self == Needs::F16
    }

    /// Whether it matters that an operation allows 16 bits.
    fn cares_for_half(self) -> bool {
        matches!(self, Needs::F16 | Needs::Units)
    }
}

/// Which adapters a body is shipped for, of those that can run it. Any of them runs it where it is
/// asked for by name, and a measurement may choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// All of them.
    Any,
    /// Software rasterizers: barriers are dear, storage loads are scalar.
    Software,
    /// Graphics cards.
    Gpu,
    /// None: it has to be asked for.
    Asked,
}

/// One spelling of a kernel: a row of its table.
#[derive(Debug)]
pub struct Body {
    /// `baseline`, or what is special about it.
    pub name: &'static str,
    /// Its file.
    pub source: Source,
    /// What the adapter must offer.
    pub needs: Needs,
    /// Where it is shipped.
    pub on: On,
    /// What narrows `on`, from the adapter's report: a vendor, a kind.
    pub narrowed: fn(&AdapterReport) -> bool,
    /// The data that it was written for.
    pub takes: Takes,
    /// Bindings of four words that it reads from images where loads from storage buffers are slow
    /// ([`AdapterReport::slow_loads`]): four at most.
    pub images: &'static [&'static str],
    /// Whether its role `element` is four elements at a time.
    pub fours: bool,
    /// What a workgroup makes.
    pub tile: Tile,
    /// Whether a measurement on the user's adapter may choose it ([`tune`](crate::kernels::tune)).
    pub tuned: bool,
}

impl Body {
    /// The roles on line 2 of the file: `// roles: a, b   uses: c`.
    pub fn roles(&self) -> Vec<&'static str> {
        roles(self.source.text())
    }

    /// The module that fills a role, where the body's row decides it.
    pub(super) fn module(&self, role: &str) -> Option<&'static str> {
        let element = if self.fours { "element_vec4" } else { "element_f32" };
        (role == "element").then_some(element)
    }

    /// Whether it can be composed with the modules that the data decide.
    pub fn accepts(&self, context: &Context) -> bool {
        // What is read one by one or by fours is one role.
        let has = |role: &str| self.roles().iter().any(|own| own.trim_end_matches('4') == role);
        (context.half || !self.needs.half())
            && (context.prologue == Prologue::Plain || has("input"))
            && match context.branch {
                None => true,
                Some(Rank::Eights) => has("branch") || has("branch8"),
                Some(Rank::Ragged) => has("branch"),
            }
            && self.takes.allow(context)
    }

    /// Whether any adapter runs it, whatever the data.
    pub fn is_baseline(&self) -> bool {
        self.name == "baseline"
    }
}

/// The roles on line 2 of a kernel file.
fn roles(source: &'static str) -> Vec<&'static str> {
    let line = source.lines().nth(1).unwrap_or_default();
    let list = line.strip_prefix("// roles:").unwrap_or_default();
    let list = list.split("uses:").next().unwrap_or_default().trim();
    if list.is_empty() || list == "none" {
        return Vec::new();
    }
    list.split(',').map(str::trim).collect()
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
    /// Whether several of its operations may be [one dispatch](super::Recorder::record_together):
    /// its bodies name a storage binding only to index it.
    pub joins: bool,
}

impl Kernel {
    /// What a table of variants calls this kernel and what the data decide: `linear_fwd weight_nf4
    /// aligned`.
    pub(crate) fn in_context(&self, context: &Context) -> String {
        [self.name].into_iter().chain(context.words()).collect::<Vec<_>>().join(" ")
    }

    /// All that the data of an operation may decide, as far as this kernel's bodies care; without
    /// what decides on no body.
    pub(super) fn contexts(&self) -> Vec<Context> {
        let has = |role: &str| self.bodies.iter().any(|body| body.roles().contains(&role));
        let any = |cares: fn(&Body) -> bool| self.bodies.iter().any(cares);
        // A look-up has no scales to read.
        let scales = self.bindings.iter().any(|(name, _)| *name == "scales");
        let weights = if scales { &Weight::ALL[..] } else { &Weight::DENSE };
        let mut all = vec![Context::default()];
        let mut each = |cares: bool, values: &dyn Fn(Context) -> Vec<Context>| {
            if cares {
                all = all.iter().copied().flat_map(values).collect();
            }
        };
        let both = |with: &dyn Fn(bool) -> Context| [true, false].map(with).to_vec();
        each(has("weight"), &|c| {
            weights.iter().map(|&weight| Context { weight: Some(weight), ..c }).collect()
        });
        each(any(|body| body.takes.aligned), &|c| both(&|yes| Context { aligned: Some(yes), ..c }));
        each(any(|body| body.takes.thin.is_some()), &|c| {
            both(&|yes| Context { thin: Some(yes), ..c })
        });
        each(has("mask"), &|c| both(&|yes| Context { mask: Some(yes), ..c }));
        // Any other number is one choice.
        let heads = [&HEADS[..], &[0]].concat();
        each(has("head"), &|c| {
            heads.iter().map(|&head| Context { head: Some(head), ..c }).collect()
        });
        each(any(|body| body.needs.cares_for_half()), &|c| both(&|half| Context { half, ..c }));
        all
    }
}
