//! LoRA adapters as PEFT saves them: a folder with `adapter_config.json` and
//! `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::atomic::PendingFile;
use super::super::json;
use super::super::safetensors::{DType, SafetensorsFile};
use super::super::safetensors_write::{TensorData, to_safetensors};
use super::super::source::{ByteSource, FileSource, MemorySource};
use super::config::AdapterConfig;
use super::keys::{PREFIX, bias, normal, not_taken, parts};
use crate::error::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// An adapter: its configuration and its tensors.
///
/// Keys are PEFT's: `base_model.model.<module>.lora_A.weight` `[R, in]`, `….lora_B.weight`
/// `[out, R]`, and with DoRA `….lora_magnitude_vector` `[out]`. A bias that was trained beside,
/// `….bias` `[out]`, stands for the model's own; of a layer with a pair its key is
/// `….base_layer.bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFile {
    /// The configuration.
    pub config: AdapterConfig,
    /// Shape and values of each tensor.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl AdapterFile {
    /// The folder of an adapter: the one that is given, or, of a run's folder, `adapter` in it.
    pub fn folder(given: impl AsRef<Path>) -> PathBuf {
        let given = given.as_ref();
        let of_run = given.join("adapter");
        match !given.join(CONFIG).is_file() && of_run.join(CONFIG).is_file() {
            true => of_run,
            false => given.to_path_buf(),
        }
    }

    /// Reads an adapter folder, or that of a run ([`AdapterFile::folder`]).
    ///
    /// **Errors** [`Error::Format`] if a file is missing or damaged, tensors are unpaired or not
    /// those of the configured layers; [`Error::Shape`] if they do not have the configured rank;
    /// [`Error::Unsupported`] for `.bin` files and for what [`AdapterConfig::from_json`] refuses;
    /// [`Error::Io`].
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = &Self::folder(folder);
        let name = folder.display().to_string();
        if !std::fs::metadata(folder).map_err(Error::io(folder))?.is_dir() {
            return Err(Error::io(folder)(std::io::ErrorKind::NotADirectory.into()));
        }
        if !folder.join(WEIGHTS).is_file() {
            if folder.join("adapter_model.bin").is_file() {
                return Err(Error::Unsupported {
                    what: format!("{name}: adapter_model.bin, a pickled PyTorch file,"),
                    hint: "load it with PEFT and save it with safe_serialization=True".into(),
                });
            }
            let why =
                format!("{WEIGHTS} is missing; an adapter is a folder with {CONFIG} and {WEIGHTS}");
            return Err(Error::format(name, "folder", why));
        }
        let config = folder.join(CONFIG);
        if !config.is_file() {
            let why = format!(
                "{CONFIG} is missing beside {WEIGHTS}; copy it from where the adapter was trained"
            );
            return Err(Error::format(name, "folder", why));
        }
        let config =
            AdapterConfig::from_json(&config.display().to_string(), &json::read(&config)?)?;
        Self::read(config, Box::new(FileSource::open(folder.join(WEIGHTS))?))
    }

    /// Reads an adapter from the bytes of its two files; `name` stands for the folder in messages.
    ///
    /// **Errors** as [`AdapterFile::load`].
    pub fn from_bytes(name: &str, config: &[u8], weights: Vec<u8>) -> Result<Self> {
        let config = AdapterConfig::from_json(&format!("{name}/{CONFIG}"), config)?;
        Self::read(config, Box::new(MemorySource::new(format!("{name}/{WEIGHTS}"), weights)))
    }

    fn read(config: AdapterConfig, source: Box<dyn ByteSource>) -> Result<Self> {
        let file = SafetensorsFile::open(source)?;
        let keys: Vec<String> = file.tensors().keys().map(|key| normal(key)).collect();
        // Before anything large is read.
        if let Some(error) = not_taken(keys.iter(), |m| config.covers(m), file.name()) {
            return Err(error);
        }
        let mut tensors = BTreeMap::new();
        for (key, info) in file.tensors() {
            let values = file.read_f32(key, 0..info.elements())?;
            if tensors.insert(normal(key), (info.shape.clone(), values)).is_some() {
                let why = "is there twice, with and without the adapter's name";
                return Err(Error::format(file.name(), format!("tensor `{key}`"), why));
            }
        }
        let adapter = Self { config, tensors };
        adapter.validate(file.name())?;
        Ok(adapter)
    }

    /// The adapted modules (`model.layers.0.self_attn.q_proj`), in order.
    pub fn modules(&self) -> Vec<&str> {
        let module = |key| str::strip_suffix(str::strip_prefix(key, PREFIX)?, ".lora_A.weight");
        self.tensors.keys().filter_map(|key| module(key.as_str())).collect()
    }

    /// The biases that were trained beside: key, and the module
    /// (`model.layers.0.self_attn.q_proj`).
    pub fn biases(&self) -> impl Iterator<Item = (&str, &str)> {
        let module = |key| Some((key, bias(key, |m| self.config.covers(m))?));
        self.tensors.keys().filter_map(move |key| module(key.as_str()))
    }

    /// Checks keys, pairs and shapes; `label` is the file's name in messages.
    ///
    /// **Errors** as [`AdapterFile::load`].
    pub fn validate(&self, label: &str) -> Result<()> {
        if self.tensors.is_empty() {
            return Err(Error::format(label, "tensors", "there are none: this is no adapter"));
        }
        if let Some(error) = not_taken(self.tensors.keys(), |m| self.config.covers(m), label) {
            return Err(error);
        }
        self.validate_targets(label)?;
        for (key, (shape, values)) in &self.tensors {
            let bad = |why: String| Error::format(label, format!("tensor `{key}`"), why);
            let Some((module, part)) = parts(key) else {
                if shape.len() == 1 && shape[0] == values.len() {
                    continue;
                }
                let why = format!("should be a vector, is {shape:?} with {} values", values.len());
                return Err(bad(why));
            };
            let wrong = |expected: String| Error::Shape {
                op: label.into(),
                tensor: key.clone(),
                expected,
                got: format!("{shape:?} with {} values", values.len()),
            };
            let rank = self.config.rank_of(module);
            let fits = match (part, shape.as_slice()) {
                (".lora_A.weight", &[r, _]) | (".lora_B.weight", &[_, r]) => r == rank,
                (".lora_magnitude_vector", &[_]) => true,
                _ => false,
            };
            if !fits || shape.iter().product::<usize>() != values.len() {
                let axes = match part {
                    ".lora_A.weight" => format!("[{rank}, in features]"),
                    ".lora_B.weight" => format!("[out features, {rank}]"),
                    _ => "[out features]".into(),
                };
                return Err(wrong(format!("{axes}, with r = {rank} from {CONFIG}")));
            }
            let beside = |part: &str| self.tensors.get(&format!("{PREFIX}{module}{part}"));
            let (Some(_), Some((b, _))) = (beside(".lora_A.weight"), beside(".lora_B.weight"))
            else {
                return Err(bad(
                    "lora_A and lora_B must come in pairs, the other one is missing".into()
                ));
            };
            if part == ".lora_magnitude_vector" && shape.first() != b.first() {
                return Err(wrong(format!(
                    "[{}], one for each row of lora_B",
                    b.first().unwrap_or(&0)
                )));
            }
            match beside(".lora_magnitude_vector") {
                Some(_) if !self.config.use_dora => {
                    return Err(bad(format!("has a magnitude, but use_dora is false in {CONFIG}")));
                }
                None if self.config.use_dora => {
                    return Err(bad(
                        "lora_magnitude_vector is missing, although use_dora is true".into()
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every tensor's layer is one that the configuration means: PEFT would leave the others out.
    fn validate_targets(&self, label: &str) -> Result<()> {
        let modules = self.modules();
        let others: Vec<&str> = modules.into_iter().filter(|m| !self.config.covers(m)).collect();
        let Some(first) = others.first() else { return Ok(()) };
        let more = match others.len() {
            1 => String::new(),
            n => format!(" and of {} other layers", n - 1),
        };
        let why = format!(
            "target_modules, exclude_modules and layers_to_transform in {CONFIG} do not mean these layers; correct \
             them, or take the tensors out"
        );
        Err(Error::format(label, format!("tensors of `{first}`{more}"), why))
    }

    /// What of the files changes nothing, a line each: keys of the configuration, and patterns that
    /// match no layer.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.config.notes.clone();
        notes.extend(self.config.without_effect(&self.modules()));
        notes.extend(self.idle_bias());
        notes
    }

    /// A line for biases that are named and not there.
    pub(crate) fn idle_bias(&self) -> Option<String> {
        let named = self.config.bias != "none" && self.biases().next().is_none();
        let bias = self.config.bias;
        named.then(|| format!("{CONFIG}: `bias` = {bias} changes nothing: the file has no biases"))
    }

    /// The bytes of `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// **Errors** as [`AdapterFile::validate`].
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        self.validate(WEIGHTS)?;
        let raw: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let tensors: Vec<_> = self
            .tensors
            .iter()
            .zip(&raw)
            .map(|((name, (shape, _)), bytes)| TensorData { name, dtype: DType::F32, shape, bytes })
            .collect();
        let weights = to_safetensors(&tensors, &[("format", "pt")])?;
        Ok((self.config.to_json().into_bytes(), weights))
    }

    /// Saves both files into a folder (made if needed), each whole or not at all, so that PEFT
    /// loads it unchanged.
    ///
    /// **Errors** as [`AdapterFile::validate`], or [`Error::Io`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let (config, weights) = self.to_bytes()?;
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut pending = Vec::new();
        for (name, bytes) in [(WEIGHTS, weights), (CONFIG, config)] {
            let mut file = PendingFile::create(folder.join(name))?;
            file.file().write_all(&bytes).map_err(Error::io(folder.join(name)))?;
            file.sync()?;
            pending.push(file);
        }
        // Both are on the disk before the first takes its name: a full disk leaves the old pair.
        pending.into_iter().try_for_each(PendingFile::commit)
    }
}
