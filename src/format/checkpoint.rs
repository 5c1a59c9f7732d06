//! A model's weights: one safetensors file, shards with an index, or a GGUF file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use serde::Deserialize;

use super::gguf::GgufFile;
use super::gguf::GgufWeights;
use super::json;
use super::names::canonical;
use super::safetensors::{SafetensorsFile, TensorInfo};
use crate::error::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A file of weights under Hugging Face's names.
pub enum WeightFile {
    /// Tensors as they are.
    Safetensors(SafetensorsFile),
    /// Tensors of GGUF, renamed and in Hugging Face's row order; block types read as numbers.
    Gguf(Box<GgufWeights>),
}

impl WeightFile {
    /// The source's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Safetensors(file) => file.name(),
            Self::Gguf(weights) => weights.file().name(),
        }
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        match self {
            Self::Safetensors(file) => file.tensors(),
            Self::Gguf(weights) => weights.tensors(),
        }
    }

    /// What is known of a tensor.
    ///
    /// **Errors** [`Error::MissingTensor`].
    pub fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.tensors().get(name).ok_or_else(|| Error::MissingTensor {
            name: name.into(),
            file: self.name().into(),
            hint: String::new(),
        })
    }

    /// See [`SafetensorsFile::read_bytes`] and [`GgufWeights::read_bytes`].
    pub fn read_bytes(&self, name: &str, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Safetensors(file) => file.read_bytes(name, range, out),
            Self::Gguf(weights) => weights.read_bytes(name, range, out),
        }
    }

    /// See [`SafetensorsFile::read_f32`] and [`GgufWeights::read_f32`].
    pub fn read_f32(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>> {
        match self {
            Self::Safetensors(file) => file.read_f32(name, range),
            Self::Gguf(weights) => weights.read_f32(name, range),
        }
    }
}

impl fmt::Debug for WeightFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeightFile({}, {} tensors)", self.name(), self.tensors().len())
    }
}

/// The tensors of a checkpoint, whichever file each is in.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<WeightFile>,
    /// Which file holds a tensor.
    holder: BTreeMap<String, usize>,
    name: String,
    /// Whether head and embedding hold the same values, once that was asked.
    pub(super) tied: OnceLock<bool>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a folder with `model.safetensors`, or with `model.safetensors.index.json` and its
    /// shards, or one safetensors or `.gguf` file.
    ///
    /// **Errors** [`Error::Format`] if none is there, a shard is missing or does not hold what the
    /// index says, or a file is damaged; [`Error::Unsupported`] for PyTorch's pickled `.bin` files;
    /// [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_file() && is_gguf(path) {
            return Self::from_gguf(GgufFile::open_path(path)?);
        }
        if path.is_file() {
            return Self::from_files(vec![SafetensorsFile::open_path(path)?]);
        }
        let name = path.display().to_string();
        if path.join(SINGLE).is_file() {
            let mut checkpoint =
                Self::from_files(vec![SafetensorsFile::open_path(path.join(SINGLE))?])?;
            checkpoint.name = name;
            return Ok(checkpoint);
        }
        if path.join(INDEX).is_file() {
            return Self::open_shards(path);
        }
        if !path.is_dir() {
            return Err(Error::io(path)(std::io::ErrorKind::NotFound.into()));
        }
        if ["pytorch_model.bin", "pytorch_model.bin.index.json"]
            .iter()
            .any(|f| path.join(f).is_file())
        {
            return Err(Error::Unsupported {
                what: format!("{name}: a checkpoint of pickled PyTorch files (.bin)"),
                hint: "save it with safe_serialization=True, or take the repository's safetensors"
                    .into(),
            });
        }
        let why =
            format!("holds neither {SINGLE} nor {INDEX}; download the model's weights into it");
        Err(Error::format(name, "folder", why))
    }

    fn open_shards(folder: &Path) -> Result<Self> {
        let index_path = folder.join(INDEX);
        let label = index_path.display().to_string();
        let index: Index = json::parse(&label, &json::read(&index_path)?)?;
        if index.weight_map.is_empty() {
            return Err(Error::format(label, "key `weight_map`", "names no tensors"));
        }
        let shards: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
        let mut files = Vec::new();
        for shard in &shards {
            // A name with folders in it could point anywhere.
            if Path::new(shard).file_name().is_none_or(|f| f != *shard) {
                return Err(Error::format(
                    label,
                    format!("shard `{shard}`"),
                    "is no plain file name",
                ));
            }
            if !folder.join(shard).is_file() {
                let why = format!(
                    "the index names it, but it is not in the folder ({} shards in all); download it",
                    shards.len()
                );
                return Err(Error::format(label, format!("shard `{shard}`"), why));
            }
            files.push(SafetensorsFile::open_path(folder.join(shard))?);
        }
        let shards: Vec<&str> = shards.into_iter().collect();
        let mut checkpoint = Self::from_files(files)?;
        checkpoint.name = folder.display().to_string();
        for (tensor, shard) in &index.weight_map {
            if checkpoint
                .holder
                .get(&canonical(tensor))
                .is_none_or(|&file| shards.get(file) != Some(&shard.as_str()))
            {
                let why = format!("the index says that it is in `{shard}`, where it is not");
                return Err(Error::format(label, format!("tensor `{tensor}`"), why));
            }
        }
        Ok(checkpoint)
    }

    /// Joins opened files. Names are those of a causal language model, also where the base model
    /// was saved.
    ///
    /// **Errors** [`Error::Format`] if two of them hold a tensor of the same name,
    /// [`Error::Invalid`] if there is none.
    pub fn from_files(mut files: Vec<SafetensorsFile>) -> Result<Self> {
        for file in &mut files {
            file.rename(canonical)?;
        }
        Self::join(files.into_iter().map(WeightFile::Safetensors).collect())
    }

    /// The weights of a GGUF file.
    ///
    /// **Errors** as [`GgufWeights::new`].
    pub fn from_gguf(file: GgufFile) -> Result<Self> {
        Self::join(vec![WeightFile::Gguf(Box::new(GgufWeights::new(file)?))])
    }

    fn join(files: Vec<WeightFile>) -> Result<Self> {
        let first = files.first().ok_or_else(|| Error::invalid("checkpoint", "no files given"))?;
        let name = first.name().to_owned();
        let mut holder = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for tensor in file.tensors().keys() {
                if let Some(other) = holder.insert(tensor.clone(), i) {
                    let why = format!("is also in {}", files[other].name());
                    return Err(Error::format(file.name(), format!("tensor `{tensor}`"), why));
                }
            }
        }
        Ok(Self { files, holder, name, tied: OnceLock::new() })
    }

    /// The folder, or the first file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All tensor names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.holder.keys().map(String::as_str)
    }

    /// Whether a tensor is there.
    pub fn contains(&self, name: &str) -> bool {
        self.holder.contains_key(name)
    }

    /// The GGUF file behind the weights, if there is one: it also holds configuration and
    /// tokenizer.
    pub fn gguf(&self) -> Option<&GgufFile> {
        self.files.iter().find_map(|file| match file {
            WeightFile::Gguf(weights) => Some(weights.file()),
            WeightFile::Safetensors(_) => None,
        })
    }

    /// The files, in the order in which they were opened.
    pub fn files(&self) -> &[WeightFile] {
        &self.files
    }

    /// The file that holds a tensor.
    ///
    /// **Errors** [`Error::MissingTensor`].
    pub fn file_of(&self, name: &str) -> Result<&WeightFile> {
        let file = self.holder.get(name).and_then(|&i| self.files.get(i));
        file.ok_or_else(|| Error::MissingTensor {
            name: name.into(),
            file: self.name.clone(),
            hint: self.missing_hint(name),
        })
    }

    fn missing_hint(&self, name: &str) -> String {
        if self.holder.keys().any(|k| k.contains(".lora_A.")) {
            return "; these are the weights of an adapter, give the base model's folder here"
                .into();
        }
        let last = name.strip_prefix("model.").unwrap_or(name);
        match self.holder.keys().find(|k| k.ends_with(last)).or(self.holder.keys().next()) {
            Some(other) => {
                format!(
                    "; {} tensors are there, such as `{other}`: is this a Llama checkpoint?",
                    self.holder.len()
                )
            }
            None => "; there are none".into(),
        }
    }

    /// What is known of a tensor.
    ///
    /// **Errors** [`Error::MissingTensor`].
    pub fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.file_of(name)?.info(name)
    }

    /// [`Checkpoint::info`] of a tensor that must have this shape.
    ///
    /// **Errors** [`Error::MissingTensor`], [`Error::Shape`].
    pub fn expect(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let file = self.file_of(name)?;
        let info = file.info(name)?;
        if info.shape != shape {
            return Err(Error::Shape {
                op: file.name().into(),
                tensor: name.into(),
                expected: format!("{shape:?} (from config.json)"),
                got: format!("{:?}", info.shape),
            });
        }
        Ok(info)
    }

    /// See [`SafetensorsFile::read_bytes`].
    pub fn read_bytes(&self, name: &str, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        self.file_of(name)?.read_bytes(name, range, out)
    }

    /// See [`SafetensorsFile::read_f32`].
    pub fn read_f32(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>> {
        self.file_of(name)?.read_f32(name, range)
    }
}

/// Whether a path names a GGUF file.
pub fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}
