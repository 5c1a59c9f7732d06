//! LoRA adapters on the device: trainable pairs beside the frozen layers, in PEFT's names and
//! formulas.

use std::collections::{BTreeMap, BTreeSet};

use super::init;
use super::plan::{Allocate, Device, MemoryPlan, Purpose};
use super::slab::{Layout, SMALL};
use crate::format::Module;
use crate::format::{AdapterConfig, AdapterFile, ModelConfig, TargetModules};
use crate::gpu::{Gpu, SHARD_BYTES, Tensor};
use crate::kernels::{Dense, Matrix};
use crate::{Error, Result};

/// Shape and values by PEFT key.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// `ΔW = scale · B·A` of one linear layer, and DoRA's magnitudes.
#[derive(Debug)]
pub(super) struct Pair {
    /// `(R, in)`.
    pub(super) a: Matrix,
    /// `(out, R)`.
    pub(super) b: Matrix,
    /// alpha/R or alpha/√R.
    pub(super) scale: f32,
    pub(super) dora: Option<Dora>,
    pub(super) grads: Option<Grads>,
}

/// DoRA: `y = (m / ‖W + scale·B·A‖_row) · (W + scale·B·A) x`.
#[derive(Debug)]
pub(super) struct Dora {
    /// `(out)`, trainable.
    pub(super) magnitude: Tensor,
    /// `(out)`, recomputed when the pair changes.
    pub(super) norm: Tensor,
}

#[derive(Debug)]
pub(super) struct Grads {
    pub(super) a: Tensor,
    pub(super) b: Tensor,
    pub(super) magnitude: Option<Tensor>,
}

/// An adapter on the device.
#[derive(Debug)]
pub struct Adapter {
    pub(super) config: AdapterConfig,
    pub(super) pairs: BTreeMap<(usize, Module), Pair>,
    /// Biases, `(out)`, in the place of the model's.
    pub(super) biases: BTreeMap<(usize, Module), Tensor>,
    outline: Outline,
    params: Vec<Tensor>,
    gradients: Vec<Tensor>,
}

/// An adapter's tensors, before they are anywhere: names, shapes, and where they will lie.
#[derive(Debug)]
pub(crate) struct Outline {
    planned: Vec<Planned>,
    /// Layers whose bias is the adapter's.
    biases: Vec<(usize, Module)>,
    /// PEFT key and shape of every tensor.
    entries: Vec<(String, Vec<usize>)>,
    pub(crate) layout: Layout,
    dora: bool,
}

struct Slabs<T> {
    params: Vec<T>,
    gradients: Vec<T>,
    norms: Vec<T>,
    table: T,
}

const PREFIX: &str = "base_model.model.";

#[derive(Debug)]
pub(super) struct Planned {
    pub(super) layer: usize,
    pub(super) module: Module,
    out: usize,
    inp: usize,
    rank: usize,
    /// As it was trained.
    scale: f64,
}

/// All linear layers of a model's blocks.
pub(super) fn layers(model: &ModelConfig) -> impl Iterator<Item = (usize, Module)> {
    (0..model.num_hidden_layers).flat_map(|layer| Module::ALL.map(|module| (layer, module)))
}

/// The layers that a configuration means.
pub(super) fn plan(config: &AdapterConfig, model: &ModelConfig) -> Vec<Planned> {
    let mut found = Vec::new();
    for (layer, module) in layers(model) {
        let path = module.path(layer);
        if config.covers(&path) {
            let (out, inp) = module.shape(model);
            let (rank, scale) = (config.rank_of(&path), config.scaling_of(&path));
            found.push(Planned { layer, module, out, inp, rank, scale });
        }
    }
    found
}

/// Whether a new adapter can be made of these settings. **Errors** [`Error::Invalid`] for a name or
/// a number that means no layer.
fn check(config: &AdapterConfig, model: &ModelConfig, found: &[Planned]) -> Result<()> {
    if let Some(layers) = &config.layers_to_transform
        && let Some(beyond) = layers.iter().find(|l| **l >= model.num_hidden_layers)
    {
        let why =
            format!("{beyond} is no layer of this model, which has {}", model.num_hidden_layers);
        return Err(Error::invalid("layers_to_transform", why));
    }
    if let TargetModules::Named(names) = &config.target_modules {
        for name in names {
            let one = TargetModules::Named(vec![name.clone()]);
            if !found.iter().any(|p| one.contains(&p.module.path(p.layer))) {
                let why = format!("`{name}` is no linear layer of this model");
                return Err(Error::invalid("target_modules", why));
            }
        }
    }
    Ok(())
}

impl Outline {
    /// The adapter that `config` describes. **Errors** as [`check`].
    pub(crate) fn of(config: &AdapterConfig, model: &ModelConfig) -> Result<Outline> {
        let planned = plan(config, model);
        check(config, model, &planned)?;
        Outline::new(planned, config.use_dora, Vec::new())
    }

    /// The adapter of a file: the layers that the configuration means and that have tensors there.
    /// PEFT warns of the others and adds nothing to them, their B being zero. Biases of the model
    /// that the file has come last.
    fn of_file(file: &AdapterFile, model: &ModelConfig) -> Result<Outline> {
        let there: BTreeSet<&str> = file.modules().into_iter().collect();
        let mut planned = plan(&file.config, model);
        planned.retain(|p| there.contains(p.module.path(p.layer).as_str()));
        let mut biases = Vec::new();
        for (layer, module) in layers(model).filter(|(_, module)| module.has_bias(model)) {
            let path = module.path(layer);
            if let Some((key, _)) = file.biases().find(|(_, of)| **of == path) {
                biases.push((key.to_owned(), layer, module, module.shape(model).0));
            }
        }
        Outline::new(planned, file.config.use_dora, biases)
    }

    fn new(
        planned: Vec<Planned>,
        dora: bool,
        biases: Vec<(String, usize, Module, usize)>,
    ) -> Result<Outline> {
        if planned.is_empty() {
            let names: Vec<_> = Module::ALL.iter().map(|m| m.name()).collect();
            let why = format!("names no layer of this model; use some of {names:?} or all-linear");
            return Err(Error::invalid("target_modules", why));
        }
        let mut entries = Vec::new();
        for p in &planned {
            let path = format!("{PREFIX}{}", p.module.path(p.layer));
            entries.push((format!("{path}.lora_A.weight"), vec![p.rank, p.inp]));
            entries.push((format!("{path}.lora_B.weight"), vec![p.out, p.rank]));
            if dora {
                entries.push((format!("{path}.lora_magnitude_vector"), vec![p.out]));
            }
        }
        let mut placed = Vec::new();
        for (key, layer, module, out) in biases {
            entries.push((key, vec![out]));
            placed.push((layer, module));
        }
        let sizes = entries.iter().map(|(_, dims)| dims.iter().product());
        let layout = Layout::of(sizes, SHARD_BYTES, SMALL);
        Ok(Outline { planned, biases: placed, entries, layout, dora })
    }

    /// What the adapter will take in training, added to a plan.
    pub(crate) fn count(&self, plan: &mut MemoryPlan) -> Result<()> {
        self.walk(plan, true).map(drop)
    }

    fn walk<A: Allocate>(&self, a: &mut A, train: bool) -> Result<Slabs<A::Tensor>> {
        let part = Purpose::Adapters;
        let params = self.layout.allocate(a, part, "lora parameters")?;
        let gradients = match train {
            true => self.layout.allocate(a, part, "lora gradients")?,
            false => Vec::new(),
        };
        let scaled = self.planned.iter().filter(|_| self.dora);
        let norms = scaled.map(|p| a.floats(part, "dora norm", &[p.out])).collect::<Result<_>>()?;
        Ok(Slabs { params, gradients, norms, table: a.table(part, "no scales", &[0.0; 256])? })
    }
}

impl Adapter {
    fn empty(gpu: &Gpu, config: &AdapterConfig, outline: Outline, train: bool) -> Result<Adapter> {
        let Slabs { params, gradients, norms, table } =
            outline.walk(&mut Device::new(gpu), train)?;
        let (entries, layout) = (&outline.entries, &outline.layout);
        let mut norms = norms.into_iter();
        let mut pairs = BTreeMap::new();
        let mut next = 0;
        for p in &outline.planned {
            let mut take = || -> Result<(Tensor, Option<Tensor>)> {
                let (name, dims) = &entries[next];
                let param = layout.tensor(&params, next, dims, name)?;
                let grad = match train {
                    true => Some(layout.tensor(&gradients, next, dims, &format!("d {name}"))?),
                    false => None,
                };
                next += 1;
                Ok((param, grad))
            };
            let ((a, da), (b, db)) = (take()?, take()?);
            let (dm, dora) = match norms.next() {
                None => (None, None),
                Some(norm) => {
                    let (magnitude, dm) = take()?;
                    (dm, Some(Dora { magnitude, norm }))
                }
            };
            let grads = da.zip(db).map(|(a, b)| Grads { a, b, magnitude: dm });
            let pair = Pair {
                a: Matrix::dense(p.rank, p.inp, Dense::F32, a, table.clone()),
                b: Matrix::dense(p.out, p.rank, Dense::F32, b, table.clone()),
                scale: p.scale as f32,
                dora,
                grads,
            };
            pairs.insert((p.layer, p.module), pair);
        }
        let mut biases = BTreeMap::new();
        for (place, (name, dims)) in outline.biases.iter().zip(&entries[next..]) {
            biases.insert(*place, layout.tensor(&params, next, dims, name)?);
            next += 1;
        }
        Ok(Adapter { config: config.clone(), pairs, biases, outline, params, gradients })
    }

    /// A new adapter for training: A Kaiming-uniform from `seed`, B zero. With DoRA the magnitudes
    /// are set by the model that it is attached to.
    pub(super) fn fresh(
        gpu: &Gpu,
        config: &AdapterConfig,
        model: &ModelConfig,
        seed: u64,
    ) -> Result<Adapter> {
        if config.rank == 0 || config.rank_pattern.iter().any(|(_, rank)| *rank == 0) {
            return Err(Error::invalid("rank", "is 0; the smallest is 1"));
        }
        let adapter = Adapter::empty(gpu, config, Outline::of(config, model)?, true)?;
        for (i, (name, dims)) in adapter.outline.entries.iter().enumerate() {
            if name.ends_with("lora_A.weight") {
                let values = init::lora_a(seed, name, dims[0], dims[1])?;
                gpu.write(&adapter.parameter(i)?, &values)?;
            }
        }
        Ok(adapter)
    }

    /// An adapter from a PEFT file, for inference or to go on training; then every layer must have
    /// its tensors. **Errors** [`Error::Shape`] and [`Error::MissingTensor`] name the tensor when
    /// the adapter belongs to another model.
    pub(super) fn from_file(
        gpu: &Gpu,
        file: &AdapterFile,
        model: &ModelConfig,
        train: bool,
    ) -> Result<Adapter> {
        if let Some((key, _)) = file.biases().next().filter(|_| train) {
            return Err(Error::Unsupported {
                what: format!("going on to train an adapter with biases of its own (`{key}`)"),
                hint: "pairs alone are trained; merge it into the model, and train a new adapter on that".into(),
            });
        }
        let outline = match train {
            true => Outline::of(&file.config, model)?,
            false => Outline::of_file(file, model)?,
        };
        let adapter = Adapter::empty(gpu, &file.config, outline, train)?;
        adapter.load(gpu, &file.tensors)?;
        Ok(adapter)
    }

    /// Overwrites the parameters with tensors in PEFT's names.
    pub(crate) fn load(&self, gpu: &Gpu, tensors: &Tensors) -> Result<()> {
        self.load_into(gpu, &self.params, tensors)
    }

    /// Overwrites what lies in `slabs` of the adapter's layout. **Errors** as for parameters.
    pub(crate) fn load_into(&self, gpu: &Gpu, slabs: &[Tensor], tensors: &Tensors) -> Result<()> {
        const OTHER: &str = ". The adapter seems to belong to another model: compare its \
                             base_model_name_or_path with ‹model›";
        for (i, (name, dims)) in self.outline.entries.iter().enumerate() {
            let (shape, values) = tensors.get(name).ok_or_else(|| Error::MissingTensor {
                name: name.clone(),
                file: "adapter".into(),
                hint: OTHER.into(),
            })?;
            if shape != dims {
                return Err(Error::Shape {
                    op: "adapter".into(),
                    tensor: name.clone(),
                    expected: format!("{dims:?}"),
                    got: format!("{shape:?}{OTHER}"),
                });
            }
            gpu.write(&self.outline.layout.tensor(slabs, i, dims, name)?, values)?;
        }
        if let Some(extra) =
            tensors.keys().find(|k| !self.outline.entries.iter().any(|(n, _)| n == *k))
        {
            return Err(Error::Shape {
                op: "adapter".into(),
                tensor: extra.clone(),
                expected: "a layer of this model".into(),
                got: format!("a tensor that it has no place for{OTHER}"),
            });
        }
        Ok(())
    }

    fn parameter(&self, i: usize) -> Result<Tensor> {
        let (name, dims) = &self.outline.entries[i];
        self.outline.layout.tensor(&self.params, i, dims, name)
    }

    /// The tensors that lie in `slabs`, in PEFT's names; one read-back a slab.
    pub(crate) async fn collect(&self, gpu: &Gpu, slabs: &[Tensor]) -> Result<Tensors> {
        let mut host = Vec::new();
        for slab in slabs {
            host.push(gpu.read(slab).await?);
        }
        let cut = |(i, (name, dims)): (usize, &(String, Vec<usize>))| {
            let (slab, at) = self.outline.layout.place(i);
            let values = host[slab][at..][..dims.iter().product()].to_vec();
            (name.clone(), (dims.clone(), values))
        };
        Ok(self.outline.entries.iter().enumerate().map(cut).collect())
    }

    /// The parameters in PEFT's names.
    pub async fn parameters(&self, gpu: &Gpu) -> Result<Tensors> {
        self.collect(gpu, &self.params).await
    }

    /// The gradients in PEFT's names. **Errors** [`Error::Invalid`] unless it is being trained.
    pub async fn gradients(&self, gpu: &Gpu) -> Result<Tensors> {
        self.collect(gpu, self.gradient_slabs()?).await
    }

    /// Adapter configuration and parameters, to save.
    pub async fn to_file(&self, gpu: &Gpu) -> Result<AdapterFile> {
        Ok(AdapterFile { config: self.config.clone(), tensors: self.parameters(gpu).await? })
    }

    /// The largest rank of its pairs.
    pub(super) fn largest_rank(&self) -> usize {
        self.pairs.values().map(|pair| pair.a.rows).max().unwrap_or(0)
    }

    /// Its settings.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// Scales each pair by `factor` times what it was trained with from now on.
    pub(super) fn set_scale(&mut self, factor: f64) {
        for p in &self.outline.planned {
            if let Some(pair) = self.pairs.get_mut(&(p.layer, p.module)) {
                pair.scale = (factor * p.scale) as f32;
            }
        }
    }

    /// Number of trainable parameters.
    pub fn parameter_count(&self) -> usize {
        self.outline.entries.iter().map(|(_, dims)| dims.iter().product::<usize>()).sum()
    }

    pub(crate) fn slabs(&self) -> &[Tensor] {
        &self.params
    }

    /// The gradients' slabs. **Errors** [`Error::Invalid`] unless it is being trained.
    pub(crate) fn gradient_slabs(&self) -> Result<&[Tensor]> {
        match self.gradients.as_slice() {
            [] => Err(Error::invalid("adapter", "was loaded for inference")),
            slabs => Ok(slabs),
        }
    }

    /// PEFT key and shape of every tensor.
    pub(crate) fn entries(&self) -> &[(String, Vec<usize>)] {
        &self.outline.entries
    }

    /// Where the tensors lie in the slabs.
    pub(crate) fn layout(&self) -> &Layout {
        &self.outline.layout
    }
}
