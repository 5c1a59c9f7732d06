//! A model in the browser: files in, tokens, prices and adapters out.

use std::collections::BTreeMap;

use js_sys::{Array, Function, Reflect, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;

use super::args::*;
use super::prices::Prices;
use super::source::JsSource;
use super::{WasmGpu, js};
use crate::data::{Dataset, DatasetOptions};
use crate::format::{AdapterFile, ByteSource, ModelFiles, Special, Tokenizer};
use crate::generate::ChatSession;
use crate::gpu::Gpu;
use crate::model::{LoadOptions, Model, adapter_notes};
use crate::pricer::beside::Beside;
use crate::pricer::trie::PriceTrie;
use crate::selftest::{self, Scope};
use crate::train::config::TrainConfig;
use crate::train::in_memory::InMemoryRun;
use crate::train::memory::{Limits, RunPlan};
use crate::train::plan::full_pass;
use crate::train::trainer::Refused;
use crate::{Error, Result};

/// Where the model is.
pub(super) enum Holder {
    Idle(Box<Model>),
    Training(Box<InMemoryRun>),
    Gone,
}

/// A model with its tokenizer.
#[wasm_bindgen]
pub struct WasmModel {
    gpu: Gpu,
    pub(super) tokenizer: Tokenizer,
    pub(super) trie: Option<PriceTrie>,
    /// By adapter, of those that anything lies beside.
    pub(super) prices: BTreeMap<String, Prices>,
    pub(super) holder: Holder,
    /// The conversation, from its first message on.
    pub(super) chat: Option<ChatSession>,
    name: String,
    notes: Vec<String>,
}

#[wasm_bindgen]
impl WasmModel {
    /// Loads a model from `files`: `{name, file, small: {"config.json": Uint8Array, …},
    /// weights: [{name, size, read(offset, length)}]}`; without a `name` it is called what its
    /// metadata say, or as the `file`. `progress(done, total)` is told bytes.
    pub async fn load(
        gpu: &WasmGpu,
        files: JsValue,
        options: String,
        progress: Function,
    ) -> Result<WasmModel, JsValue> {
        let gpu = gpu.gpu.clone();
        let args: LoadArgs = js::options(&options)?;
        let mut tell = |done: u64, total: u64| {
            let _ = progress.call2(&JsValue::NULL, &(done as f64).into(), &(total as f64).into());
        };
        load(gpu, &files, args, &mut tell).await.map_err(js::error)
    }

    /// Sizes, adapters, and which of these is active.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let model = self.model().map_err(js::error)?;
        let config = model.config();
        js::object(&ModelInfo {
            name: &self.name,
            precision: model.precision(),
            layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            parameters: model.trainable_parameters().all - model.trainable_parameters().trainable,
            weight_bytes: model.weight_bytes(),
            adapters: model.adapter_names().collect(),
            adapter: model.active_adapter_name(),
            max_length: config.max_position_embeddings,
            chat: self.tokenizer.chat_template_text().is_some(),
            notes: &self.notes,
        })
    }

    /// Computes products at `"f32"`, or `"mixed"`: with factors of 16 bits where the device gains
    /// by it.
    #[wasm_bindgen(js_name = setPrecision)]
    pub fn set_precision(&mut self, precision: &str) -> Result<(), JsValue> {
        let precision = js::options(precision)?;
        self.idle().map(|model| model.set_precision(precision)).map_err(js::error)
    }

    /// Kernels against their twins: those that an answer needs, or (`rest`) what training needs
    /// beside them.
    #[wasm_bindgen(js_name = selfTest)]
    pub async fn self_test(&mut self, rest: bool) -> Result<JsValue, JsValue> {
        let gpu = self.gpu.clone();
        let model = self.idle().map_err(js::error)?;
        let scope = if rest { Scope::Rest } else { Scope::Answer };
        let checks = selftest::run(&gpu, model, scope).await.map_err(js::error)?;
        js::object(&checks)
    }

    /// Adds an adapter from PEFT's two files and, where they lie beside these, `pricer.json` and
    /// the index of neighbours; makes it the active one. What of it changes nothing, and what is
    /// missing, a line each.
    #[wasm_bindgen(js_name = addAdapter)]
    pub async fn add_adapter(
        &mut self,
        name: String,
        config: Vec<u8>,
        weights: Vec<u8>,
        pricing: Option<Vec<u8>>,
        index: Option<Vec<u8>>,
    ) -> Result<Vec<String>, JsValue> {
        let file = AdapterFile::from_bytes(&name, &config, weights).map_err(js::error)?;
        let beside = Beside::from_bytes(&name, pricing.as_deref(), index.as_deref());
        let prices = Prices::new(beside.map_err(js::error)?);
        let model = self.idle().map_err(js::error)?;
        model.add_adapter(&name, &file).await.map_err(js::error)?;
        let mut notes = adapter_notes(&file.config, Some(&file), model.config());
        notes.extend(prices.notes());
        self.prices.insert(name, prices);
        Ok(notes)
    }

    /// Removes an adapter.
    #[wasm_bindgen(js_name = removeAdapter)]
    pub fn remove_adapter(&mut self, name: &str) -> Result<(), JsValue> {
        self.idle().map(|model| model.remove_adapter(name)).map_err(js::error)?;
        self.prices.remove(name);
        Ok(())
    }

    /// Makes an adapter answer, or none.
    #[wasm_bindgen(js_name = setAdapter)]
    pub fn set_adapter(&mut self, name: Option<String>) -> Result<(), JsValue> {
        self.idle().and_then(|model| model.set_adapter(name.as_deref())).map_err(js::error)
    }

    /// Multiplies an adapter's alpha/r.
    #[wasm_bindgen(js_name = setScale)]
    pub async fn set_scale(&mut self, name: String, factor: f64) -> Result<(), JsValue> {
        let model = self.idle().map_err(js::error)?;
        model.set_adapter_scale(&name, factor).await.map_err(js::error)
    }

    /// PEFT's two files of the active adapter: `{config, weights}`.
    #[wasm_bindgen(js_name = adapterFiles)]
    pub async fn adapter_files(&self) -> Result<JsValue, JsValue> {
        let model = self.model().map_err(js::error)?;
        let adapter = model.adapter().map_err(js::error)?;
        let file = adapter.to_file(&self.gpu).await.map_err(js::error)?;
        pair(&file)
    }

    /// Bytes of all tensors on the device now, and what training with `config` (as for
    /// [`begin_training`]) would take in all if every row had `max_length` tokens:
    /// `{deviceBytes, trainingBytes}`.
    ///
    /// [`begin_training`]: WasmModel::begin_training
    pub fn memory(&self, config: &str) -> Result<JsValue, JsValue> {
        let config: TrainConfig = js::options(config)?;
        let model = self.model().map_err(js::error)?;
        let config = config.for_model(model.config());
        let (pass, limits) = (full_pass(&config), Limits::of(&self.gpu));
        let plan = RunPlan::new(model.memory(), model.config(), &config, pass, limits);
        let training_bytes = plan.map_err(js::error)?.memory.total();
        js::object(&MemoryOut { device_bytes: self.gpu.tensor_bytes(), training_bytes })
    }

    /// Number of tokens of a text.
    #[wasm_bindgen(js_name = countTokens)]
    pub fn count_tokens(&self, text: &str) -> Result<usize, JsValue> {
        self.tokenizer.encode(text, Special::Without).map(|ids| ids.len()).map_err(js::error)
    }

    /// Begins to train a new adapter on rows of `{prompt, completion}` or `{text}`; `config` are
    /// settings of `run.toml` as JSON. Returns the number of steps.
    #[wasm_bindgen(js_name = beginTraining)]
    pub async fn begin_training(
        &mut self,
        name: String,
        rows: String,
        config: String,
    ) -> Result<f64, JsValue> {
        let config: TrainConfig = js::options(&config)?;
        let config = config.for_model(self.model().map_err(js::error)?.config());
        let options = DatasetOptions {
            max_length: config.row_length(),
            loss: config.loss,
            ..DatasetOptions::default()
        };
        // Row by row: readers of CSV and chat templates would make the .wasm a fifth larger.
        let mut dataset = Dataset::default();
        for (i, row) in js::options::<Vec<RowArgs>>(&rows)?.into_iter().enumerate() {
            let row = row.row().map_err(js::error)?;
            dataset.push(&row, "rows", i + 1, &self.tokenizer, &options).map_err(js::error)?;
        }
        let rows = dataset;
        self.idle().map_err(js::error)?;
        let Holder::Idle(model) = std::mem::replace(&mut self.holder, Holder::Gone) else {
            return Err(js::error(busy()));
        };
        match InMemoryRun::new(*model, &name, rows, &config).await {
            Ok(run) => {
                let total = run.total_steps();
                self.prices.remove(&name);
                self.holder = Holder::Training(Box::new(run));
                Ok(total as f64)
            }
            Err(refused) => Err(self.back(*refused)),
        }
    }

    /// One optimizer step: its line of `metrics.jsonl`, or `null` after the last.
    #[wasm_bindgen(js_name = trainStep)]
    pub async fn train_step(&mut self) -> Result<JsValue, JsValue> {
        match &mut self.holder {
            Holder::Training(run) => js::object(&run.next().await.map_err(js::error)?),
            _ => Err(js::error(Error::invalid("training", "has not begun"))),
        }
    }

    /// Ends training; the new adapter is active. PEFT's two files: `{config, weights}`.
    #[wasm_bindgen(js_name = endTraining)]
    pub async fn end_training(&mut self) -> Result<JsValue, JsValue> {
        let run = match std::mem::replace(&mut self.holder, Holder::Gone) {
            Holder::Training(run) => run,
            other => {
                self.holder = other;
                return Err(js::error(Error::invalid("training", "has not begun")));
            }
        };
        match run.finish().await {
            Ok((model, file)) => {
                self.holder = Holder::Idle(Box::new(model));
                pair(&file)
            }
            Err(refused) => Err(self.back(*refused)),
        }
    }
}

impl WasmModel {
    pub(super) fn model(&self) -> Result<&Model> {
        match &self.holder {
            Holder::Idle(model) => Ok(model),
            Holder::Training(run) => Ok(run.model()),
            Holder::Gone => Err(Error::invalid("model", "is gone; load it again")),
        }
    }

    /// The model, to change it.
    fn idle(&mut self) -> Result<&mut Model> {
        match &mut self.holder {
            Holder::Idle(model) => Ok(model),
            _ => Err(busy()),
        }
    }

    fn back(&mut self, refused: Refused) -> JsValue {
        self.holder = Holder::Idle(Box::new(refused.model));
        js::error(refused.error)
    }
}

pub(super) fn busy() -> Error {
    Error::invalid("model", "is being trained; stop that first")
}

fn pair(file: &AdapterFile) -> Result<JsValue, JsValue> {
    let (config, weights) = file.to_bytes().map_err(js::error)?;
    let out = js_sys::Object::new();
    Reflect::set(&out, &"config".into(), &Uint8Array::from(config.as_slice()))?;
    Reflect::set(&out, &"weights".into(), &Uint8Array::from(weights.as_slice()))?;
    Ok(out.into())
}

async fn load(
    gpu: Gpu,
    files: &JsValue,
    args: LoadArgs,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<WasmModel> {
    let get = |key: &str| Reflect::get(files, &key.into()).unwrap_or(JsValue::UNDEFINED);
    let text = |key: &str| get(key).as_string();
    let label = text("name").or_else(|| text("file")).unwrap_or_else(|| "model".into());
    let mut small = BTreeMap::new();
    for entry in js_sys::Object::entries(&js_sys::Object::from(get("small"))).iter() {
        let entry = Array::from(&entry);
        if let (Some(file), Ok(bytes)) =
            (entry.get(0).as_string(), entry.get(1).dyn_into::<Uint8Array>())
        {
            small.insert(file, bytes.to_vec());
        }
    }
    let source = |file: JsValue| Ok(Box::new(JsSource::new(&file)?) as Box<dyn ByteSource>);
    let weights = Array::from(&get("weights")).iter().map(source).collect::<Result<Vec<_>>>()?;
    let (files, tokenizer) = ModelFiles::given(&label, &small, weights)?;
    // A name that was given, else the one in the file, else the file's own.
    let name = text("name").or_else(|| files.title()).unwrap_or(label);
    let ModelFiles { config, checkpoint, mut notes, .. } = files;
    notes.extend(tokenizer.notes().iter().cloned());
    let max_positions = args.max_length.min(config.max_position_embeddings.max(1));
    let options = LoadOptions { quant: args.quant, max_positions };
    let mut model = Model::load(&gpu, &checkpoint, &config, options, progress).await?;
    model.set_precision(args.precision);
    let trie = PriceTrie::new(&tokenizer).ok();
    Ok(WasmModel {
        gpu,
        tokenizer,
        trie,
        prices: BTreeMap::new(),
        holder: Holder::Idle(Box::new(model)),
        chat: None,
        name,
        notes,
    })
}
