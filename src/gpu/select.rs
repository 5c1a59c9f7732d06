//! Which variant of a kernel a device runs: a pure function of the kernel, what the data decide,
//! and the device.

use std::collections::BTreeMap;

use super::body::{Body, Kernel, Needs, On};
use super::caps::Caps;
use super::context::{Context, IDLE};
use super::form::Form;
use super::library::modules;
use super::policy::Policy;
use crate::{Error, Result};

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
    /// Whether it reads from images what its body's row says.
    pub images: bool,
    /// What a dispatch covers.
    pub form: Form,
}

/// A tensor that a variant reads from an image.
pub(super) struct FromImage {
    pub(super) name: &'static str,
    /// Its place among the kernel's tensors.
    pub(super) tensor: usize,
    /// The image's binding: the tensor's own, or one behind all others where the variant also
    /// writes to the tensor.
    pub(super) binding: usize,
}

impl Selection {
    /// `rms_norm_fwd[baseline+reduce_workgroup]`, without modules that do nothing.
    pub fn name(&self) -> String {
        let mut pieces = vec![self.body.name];
        pieces.extend(self.modules.iter().filter(|module| !IDLE.contains(module)));
        pieces.extend(self.images.then_some("images"));
        pieces.extend(self.form.name());
        format!("{}[{}]", self.kernel.name, pieces.join("+"))
    }

    /// Whether it runs on matrix units.
    pub fn needs_units(&self) -> bool {
        self.body.needs == Needs::Units
    }

    /// Whether it rounds factors to 16 bits.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_half(&self) -> bool {
        self.capabilities().contains(&"f16")
    }

    /// What this variant reads from images, in the order of its body's row.
    pub(super) fn images(&self) -> Vec<FromImage> {
        let bindings = self.kernel.bindings;
        let mut behind = bindings.len() + 1;
        let images = self.body.images.iter().filter(|_| self.images);
        let found = images.filter_map(|name| {
            let tensor = bindings.iter().position(|(binding, _)| binding == name)?;
            let own = !bindings[tensor].1.writes();
            let binding = if own { tensor + 1 } else { behind };
            behind += usize::from(!own);
            Some(FromImage { name, tensor, binding })
        });
        found.collect()
    }

    /// The same for dispatches that cover something else.
    pub fn with(&self, form: Form) -> Selection {
        Selection { form, ..self.clone() }
    }
}

impl Caps {
    /// The variant of `kernel` that this device runs for what the data decide.
    pub fn select(&self, kernel: &'static Kernel, context: &Context) -> Result<Selection> {
        let able = self.able(kernel, context);
        let shipped = able.iter().rfind(|body| self.suits(body)).or(able.first());
        let wanted = match &self.policy {
            Policy::Prefer(name) => Some(name.as_str()),
            Policy::Auto => {
                let is_half = shipped.is_some_and(|body| body.needs == Needs::F16);
                self.choices.body(kernel, context, is_half)
            }
            Policy::Baseline => None,
        };
        let body =
            able.iter().find(|body| Some(body.name) == wanted).or(shipped).copied().ok_or_else(
                || Error::Unsupported {
                    what: format!("kernel {}", kernel.in_context(context)),
                    hint: "this is a bug: every kernel has a baseline body".into(),
                },
            )?;
        self.composed(kernel, body, context)
    }

    /// The variants among which [`tune`](crate::kernels::tune) decides: the one that runs now, then
    /// the others that this device can run and that were written for such data. On software
    /// adapters workgroup tiles are far behind.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn candidates(
        &self,
        kernel: &'static Kernel,
        context: &Context,
    ) -> Result<Vec<Selection>> {
        let first = self.select(kernel, context)?;
        let mut others = self.able(kernel, context);
        others.retain(|body| body.tuned && body.name != first.body.name);
        others.retain(|body| !self.software || self.suits(body) || body.needs == Needs::Units);
        let others = others.into_iter().map(|body| self.composed(kernel, body, context));
        [Ok(first)].into_iter().chain(others).collect()
    }

    fn able(&self, kernel: &'static Kernel, context: &Context) -> Vec<&'static Body> {
        let able = |body: &&Body| self.can_run(body.needs, context) && body.accepts(context);
        kernel.bodies.iter().filter(able).collect()
    }

    fn composed(
        &self,
        kernel: &'static Kernel,
        body: &'static Body,
        context: &Context,
    ) -> Result<Selection> {
        let mut modules = Vec::new();
        let mut workgroup = None;
        for role in body.roles() {
            let module = match role {
                "reduce" => match self.reduces_in_subgroup() {
                    Some(width) => {
                        workgroup = Some(width);
                        "reduce_subgroup"
                    }
                    None => "reduce_workgroup",
                },
                "unit" => self.units.module(context.half).unwrap_or_default(),
                // On llvmpipe, whose subgroups are of 8, selects are faster.
                "codebook" if self.subgroup() == Some(8) => "codebook_selects",
                "codebook" => "codebook_indexed",
                _ => body.module(role).or(context.module(role)).ok_or_else(|| {
                    Error::invalid(kernel.name, format!("the operation chose no `{role}`"))
                })?,
            };
            modules.push(module);
        }
        let images = self.reads_images() && !body.images.is_empty();
        Ok(Selection { kernel, body, modules, workgroup, images, form: Form::Whole })
    }

    /// The size of a workgroup that is one subgroup, and so reduces without barriers: on software
    /// adapters, where these are dear.
    fn reduces_in_subgroup(&self) -> Option<u32> {
        let wanted = match self.policy.preferred() {
            Some("reduce_subgroup") => true,
            Some("reduce_workgroup") => false,
            _ => self.software,
        };
        let width = self.subgroup().filter(|width| width.is_power_of_two());
        width.filter(|_| wanted && self.policy != Policy::Baseline)
    }

    /// Whether a body is shipped for this adapter.
    fn suits(&self, body: &Body) -> bool {
        let kind = match body.on {
            On::Any => true,
            On::Software => self.software,
            On::Gpu => !self.software && self.policy != Policy::Baseline,
            On::Asked => false,
        };
        kind && (body.narrowed)(&self.adapter)
    }
    /// The variant that this device runs of each kernel in `kernels`, for all that data may decide:
    /// `linear_fwd weight_nf4 aligned` → `linear_fwd[baseline+weight_nf4]`.
    pub fn variants(&self, kernels: &[&'static Kernel]) -> BTreeMap<String, String> {
        let mut chosen = BTreeMap::new();
        for kernel in kernels {
            for context in kernel.contexts() {
                let name =
                    |context| self.select(kernel, &context).map(|selection| selection.name());
                let Ok(variant) = name(context) else { continue };
                // Where 16 bits are allowed only what they change.
                let without = Context { half: false, ..context };
                if context.half && name(without).is_ok_and(|without| without == variant) {
                    continue;
                }
                chosen.insert(kernel.in_context(&context), variant);
            }
        }
        chosen
    }
}

impl Kernel {
    /// Every body with every combination of modules that it accepts, each once.
    pub fn variants(&'static self) -> Vec<Selection> {
        let mut all: BTreeMap<String, Selection> = BTreeMap::new();
        for context in self.contexts() {
            for body in self.bodies.iter().filter(|body| body.accepts(&context)) {
                let mut combinations: Vec<Vec<&'static str>> = vec![Vec::new()];
                for role in body.roles() {
                    // What decides on no body is in no context.
                    let decided = context.module(role).filter(|module| !IDLE.contains(module));
                    let decided = body.module(role).or(decided);
                    let choices = decided.map_or_else(|| modules(role), |module| vec![module]);
                    let with = |all: &Vec<_>| {
                        let longer = |module: &&'static str| [all.as_slice(), &[*module]].concat();
                        choices.iter().map(longer).collect::<Vec<_>>()
                    };
                    combinations = combinations.iter().flat_map(with).collect();
                }
                for modules in combinations {
                    let (kernel, workgroup, form, images) = (self, None, Form::Whole, false);
                    let selection = Selection { kernel, body, modules, workgroup, images, form };
                    if !body.images.is_empty() {
                        let selection = Selection { images: true, ..selection.clone() };
                        all.insert(selection.name(), selection);
                    }
                    all.insert(selection.name(), selection);
                }
            }
        }
        all.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterReport, Choices, Source, Takes, Tile, Units};

    const fn body(name: &'static str, on: On, needs: Needs) -> Body {
        let source = Source::new("it/it.wgsl", "// it: does\n// roles: none\n");
        let (takes, images, fours, tile, tuned) = (Takes::ANY, &[], false, Tile::Only, false);
        Body { name, source, needs, on, narrowed: |_| true, takes, images, fours, tile, tuned }
    }

    static KERNEL: Kernel = Kernel {
        name: "it",
        bindings: &[],
        bodies: &[
            body("baseline", On::Any, Needs::Nothing),
            body("tile", On::Software, Needs::Nothing),
            body("workgroup", On::Gpu, Needs::Nothing),
            body("lanes", On::Gpu, Needs::Subgroups(16, 32)),
            Body { narrowed: |a| a.vendor == 0x8086, ..body("wide", On::Gpu, Needs::Nothing) },
            body("daring", On::Asked, Needs::Nothing),
        ],
        joins: false,
    };

    /// The body that a card with such subgroups runs, or a software adapter.
    fn runs(vendor: u32, subgroups: [u32; 2], software: bool, policy: Policy) -> &'static str {
        let adapter = AdapterReport {
            vendor,
            subgroup_min: subgroups[0],
            subgroup_max: subgroups[1],
            ..AdapterReport::default()
        };
        let caps = Caps {
            adapter,
            software,
            f16: false,
            units: Units::default(),
            policy,
            choices: Choices::default(),
        };
        caps.select(&KERNEL, &Context::default()).unwrap().body.name
    }

    #[test]
    fn a_row_says_where_its_body_is_shipped() {
        let auto = |vendor, subgroups, software| runs(vendor, subgroups, software, Policy::Auto);
        assert_eq!(auto(0x1002, [0, 0], true), "tile");
        assert_eq!(auto(0x1002, [0, 0], false), "workgroup");
        assert_eq!(auto(0x8086, [0, 0], false), "wide");
        // A size that the driver chooses for each kernel: every one it may choose must do.
        assert_eq!(auto(0x1002, [16, 32], false), "lanes");
        assert_eq!(auto(0x1002, [32, 32], false), "lanes");
        assert_eq!(auto(0x1002, [32, 64], false), "workgroup");
        assert_eq!(auto(0x1002, [8, 32], false), "workgroup");
    }

    #[test]
    fn what_is_asked_for_runs_where_it_can() {
        let asked = |name: &str, software| {
            runs(0x1002, [64, 64], software, Policy::named(name, &[&KERNEL]).unwrap())
        };
        assert_eq!(asked("daring", false), "daring");
        assert_eq!(asked("wide", true), "wide");
        assert_eq!(asked("lanes", false), "workgroup", "subgroups of 64 are none of 16 to 32");
        assert_eq!(asked("baseline", false), "baseline");
    }

    #[test]
    fn a_name_that_no_kernel_has_is_refused_with_those_there_are() {
        for name in ["workgruop", "f32+workgroup", "Tile", "reduce"] {
            let why = Policy::named(name, &[&KERNEL]).unwrap_err().to_string();
            assert!(why.contains(name) && why.contains("daring, images, lanes, reduce_"), "{why}");
        }
        assert_eq!(Policy::recorded("f32+workgroup"), Policy::Baseline);
        assert_eq!(Policy::recorded("tile_nf4"), Policy::Prefer("tile".into()));
    }
}
