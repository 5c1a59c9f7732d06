//! The files of a set.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::judge::{Outcome, wrong};
use wgpu_lora::data::Batch;
use wgpu_lora::format::SafetensorsFile;

/// A golden set's folder.
#[derive(Clone)]
pub struct Set {
    root: PathBuf,
}

impl Set {
    pub fn new(root: &Path) -> Set {
        Set { root: root.to_owned() }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    pub fn has(&self, inside: &str) -> bool {
        self.path(inside).exists()
    }

    fn entries(&self, inside: &str, folders: bool) -> Outcome<Vec<String>> {
        let path = self.path(inside);
        let entries = std::fs::read_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() == folders && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Names of the folders in a folder, in order.
    pub fn folders(&self, inside: &str) -> Outcome<Vec<String>> {
        self.entries(inside, true)
    }

    /// Names of the files in a folder, in order.
    pub fn files(&self, inside: &str) -> Outcome<Vec<String>> {
        self.entries(inside, false)
    }

    pub fn json(&self, inside: &str) -> Outcome<Value> {
        let path = self.path(inside);
        let text = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))?)
    }

    pub fn open(&self, inside: &str) -> Outcome<File> {
        Ok(File(SafetensorsFile::open_path(self.path(inside))?))
    }
}

/// A safetensors file of results.
pub struct File(pub SafetensorsFile);

impl File {
    pub fn has(&self, name: &str) -> bool {
        self.0.tensors().contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tensors().keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> Outcome<&[usize]> {
        Ok(&self.0.info(name)?.shape)
    }

    pub fn bytes(&self, name: &str) -> Outcome<Vec<u8>> {
        let mut out = Vec::new();
        self.0.read_bytes(name, 0..self.0.info(name)?.bytes, &mut out)?;
        Ok(out)
    }

    /// F32, F16 or BF16 as `f32`.
    pub fn f32(&self, name: &str) -> Outcome<Vec<f32>> {
        Ok(self.0.read_f32(name, 0..self.0.info(name)?.elements())?)
    }

    pub fn f64(&self, name: &str) -> Outcome<Vec<f64>> {
        let bytes = self.bytes(name)?;
        Ok(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect())
    }

    pub fn i32(&self, name: &str) -> Outcome<Vec<i32>> {
        let bytes = self.bytes(name)?;
        Ok(bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect())
    }

    /// The one number of a tensor, stored as F32 or F64.
    pub fn number(&self, name: &str) -> Outcome<f64> {
        let values = match self.0.info(name)?.bytes {
            4 => self.f32(name)?.iter().map(|&v| f64::from(v)).collect(),
            _ => self.f64(name)?,
        };
        match values.as_slice() {
            [one] => Ok(*one),
            _ => wrong(format!("`{name}` of {} is not one number", self.0.name())),
        }
    }
}

/// A batch of the set: `(B, T)` ids, mask and labels.
pub struct Inputs {
    pub b: usize,
    pub t: usize,
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
    pub batch: Batch,
}

const IDS: &str = "input_ids_i32";

impl Inputs {
    pub fn present(file: &File) -> bool {
        file.has(IDS)
    }

    /// The batches of a file: one where ids are `[B, T]`, `n` where they are `[n, B, T]`.
    pub fn read_all(file: &File) -> Outcome<Vec<Inputs>> {
        let (n, b, t) = match *file.shape(IDS)? {
            [b, t] => (1, b, t),
            [n, b, t] => (n, b, t),
            _ => return wrong(format!("`{IDS}` is neither [B, T] nor [n, B, T]")),
        };
        let (ids, mask, labels) =
            (file.i32(IDS)?, file.i32("attention_mask_i32")?, file.i32("labels_i32")?);
        if mask.len() != n * b * t || labels.len() != n * b * t || b * t == 0 {
            return wrong("ids, mask and labels have different shapes");
        }
        (0..n)
            .map(|i| {
                let part = i * b * t..(i + 1) * b * t;
                Inputs::new(b, t, &ids[part.clone()], &mask[part.clone()], &labels[part])
            })
            .collect()
    }

    pub fn read(file: &File) -> Outcome<Inputs> {
        let mut all = Inputs::read_all(file)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => wrong("the file does not hold one batch"),
        }
    }

    pub fn new(b: usize, t: usize, ids: &[i32], mask: &[i32], labels: &[i32]) -> Outcome<Inputs> {
        let lengths: Vec<usize> =
            mask.chunks(t).map(|row| row.iter().take_while(|m| **m != 0).count()).collect();
        if mask.chunks(t).zip(&lengths).any(|(row, &n)| row[n..].iter().any(|m| *m != 0)) {
            return wrong("a row is not padded on the right");
        }
        let ids: Vec<u32> = ids.iter().map(|&id| u32::try_from(id)).collect::<Result<_, _>>()?;
        let batch = Batch::from_padded(&ids, labels, &lengths, t)?;
        Ok(Inputs { b, t, ids, mask: mask.iter().map(|m| *m != 0).collect(), batch })
    }

    /// The rows of `(B·T)` that are no padding.
    pub fn rows(&self) -> Vec<u32> {
        (0..self.b * self.t).filter(|&i| self.mask[i]).map(|i| i as u32).collect()
    }

    /// Those rows of a tensor `(B, T, width)`.
    pub fn unpadded(&self, values: &[f32], width: usize) -> Vec<f32> {
        self.rows()
            .iter()
            .flat_map(|&row| values.iter().skip(row as usize * width).take(width).copied())
            .collect()
    }
}
