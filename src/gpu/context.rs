//! What the data of an operation decide about its kernel's variant, and what of it a body was
//! written for; and in the composer's words: the modules that fill a body's roles.

/// How the elements of a weight are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "kernels::Storage says what each of them is")]
pub enum Weight {
    Bf16,
    F16,
    F32,
    Nf4,
    Nf4Quads,
    Nf4Single,
}

impl Weight {
    /// Those without scales.
    pub const DENSE: [Weight; 3] = [Weight::Bf16, Weight::F16, Weight::F32];
    /// All of them.
    pub const ALL: [Weight; 6] =
        [Weight::Bf16, Weight::F16, Weight::F32, Weight::Nf4, Weight::Nf4Quads, Weight::Nf4Single];

    /// The modules that read elements one by one, and eight of a row at a time.
    fn modules(self) -> [&'static str; 2] {
        match self {
            Weight::Bf16 => ["weight_bf16", "rows_bf16"],
            Weight::F16 => ["weight_f16", "rows_f16"],
            Weight::F32 => ["weight_f32", "rows_f32"],
            Weight::Nf4 => ["weight_nf4", "rows_nf4"],
            Weight::Nf4Quads => ["weight_nf4_quads", "rows_nf4_quads"],
            Weight::Nf4Single => ["weight_nf4_single", "rows_nf4_single"],
        }
    }
}

/// Columns of an attention head that are a constant of its bodies, which keep it in registers.
pub const HEADS: [usize; 3] = [32, 64, 128];

/// What a product makes of its input as it reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prologue {
    /// Nothing.
    #[default]
    Plain,
    /// RMSNorm.
    Norm,
    /// SwiGLU.
    Swiglu,
}

impl Prologue {
    /// The modules that make elements one by one, and four at a time.
    fn modules(self) -> [&'static str; 2] {
        match self {
            Prologue::Plain => ["input_plain", "input4_plain"],
            Prologue::Norm => ["input_norm", "input4_norm"],
            Prologue::Swiglu => ["input_swiglu", "input4_swiglu"],
        }
    }
}

/// The rank of a way up that is added to a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rank {
    /// Whole eights.
    Eights,
    /// Any other.
    Ragged,
}

/// What the data of an operation decide; `None` where a kernel has no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// How the weight is stored.
    pub weight: Option<Weight>,
    /// Whether all that fast bodies load or store several at a time begins at such a border.
    pub aligned: Option<bool>,
    /// Whether a gradient is higher than it is wide.
    pub thin: Option<bool>,
    /// Whether a mask of dropout lies over the input.
    pub mask: Option<bool>,
    /// Columns of an attention head.
    pub head: Option<usize>,
    /// Whether factors may be rounded to 16 bits. It opens bodies and closes none.
    pub half: bool,
    /// What is made of the input. A body with the role `input` takes any.
    pub prologue: Prologue,
    /// LoRA's way up, where it is added. A body with the role `branch` takes any or none, one with
    /// `branch8` whole eights or none.
    pub branch: Option<Rank>,
}

/// What ends the name of a context that allows 16 bits.
pub const HALF: &str = "half";

/// Modules that do nothing, or what their body's name says, and so are in no variant's name.
pub(super) const IDLE: [&str; 6] =
    ["input_plain", "input4_plain", "branch_none", "branch8_none", "element_f32", "element_vec4"];

impl Context {
    /// The module that fills a role, where the data decide it.
    pub(super) fn module(&self, role: &str) -> Option<&'static str> {
        Some(match role {
            "weight" => self.weight?.modules()[0],
            "rows" => self.weight?.modules()[1],
            "mask" if self.mask? => "mask_pcg",
            "mask" => "mask_none",
            "head" => match self.head? {
                32 => "head_32",
                64 => "head_64",
                128 => "head_128",
                _ => "head_any",
            },
            "input" => self.prologue.modules()[0],
            "input4" => self.prologue.modules()[1],
            "branch" if self.branch.is_some() => "branch_lora",
            "branch" => "branch_none",
            "branch8" if self.branch.is_some() => "branch8_lora",
            "branch8" => "branch8_none",
            _ => return None,
        })
    }

    /// What a table of variants calls it: what decides on a body, in words.
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> {
        let shape = self.aligned.map(|aligned| if aligned { "aligned" } else { "ragged" });
        let ratio = self.thin.map(|thin| if thin { "thin" } else { "wide" });
        let half = self.half.then_some(HALF);
        let [weight, mask, head] = ["weight", "mask", "head"].map(|role| self.module(role));
        [weight, shape, ratio, mask, head, half].into_iter().flatten()
    }
}

/// The data that a body was written for.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// Weights that are stored like this; empty: any.
    pub weights: &'static [Weight],
    /// Heads of so many columns; empty: any.
    pub heads: &'static [usize],
    /// Only aligned shapes.
    pub aligned: bool,
    /// Only thin gradients, or only others.
    pub thin: Option<bool>,
}

impl Takes {
    /// Any data.
    pub const ANY: Takes = Takes { weights: &[], heads: &[], aligned: false, thin: None };
    /// Aligned shapes.
    pub const ALIGNED: Takes = Takes { aligned: true, ..Takes::ANY };

    pub(super) fn allow(&self, context: &Context) -> bool {
        fn among<T: PartialEq>(all: &[T], one: Option<T>) -> bool {
            all.is_empty() || one.is_some_and(|one| all.contains(&one))
        }
        among(self.weights, context.weight)
            && among(self.heads, context.head)
            && (!self.aligned || context.aligned == Some(true))
            && (self.thin.is_none() || self.thin == context.thin)
    }
}
