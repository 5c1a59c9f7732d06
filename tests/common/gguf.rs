//! GGUF files written again with other keys and tensors.
#![allow(dead_code, reason = "each test program takes what it needs")]

use std::path::Path;

use wgpu_lora::format::{
    GgufAnnounced, GgufField, GgufFile, GgufNumbers, GgufType, GgufValue, GgufWriter,
};

/// A file's keys and tensors, in memory.
#[derive(Clone)]
pub struct Draft {
    pub fields: Vec<(String, GgufField)>,
    pub tensors: Vec<(GgufAnnounced, Vec<f32>)>,
}

/// The same value to be written; numbers of a list are whole or floats, as their key has them.
fn field(key: &str, value: &GgufValue) -> GgufField {
    let floats = |list: &GgufNumbers| list.iter().map(|n| n as f32).collect();
    let whole = |list: &GgufNumbers| list.iter().map(|n| n as i32).collect();
    match value {
        GgufValue::Unsigned(n) => GgufField::U32(*n as u32),
        GgufValue::Float(n) => GgufField::F32(*n as f32),
        GgufValue::Bool(b) => GgufField::Bool(*b),
        GgufValue::Text(text) => GgufField::Text(text.clone()),
        GgufValue::Texts(texts) => GgufField::Texts(texts.clone()),
        GgufValue::Numbers(list) if key.ends_with("scores") => GgufField::F32s(floats(list)),
        GgufValue::Numbers(list) => GgufField::I32s(whole(list)),
        other => panic!("{key}: {other:?}"),
    }
}

impl Draft {
    /// Of a file whose tensors are of types that are written.
    pub fn of(path: &Path) -> Draft {
        let (file, raw) = (GgufFile::open_path(path).unwrap(), std::fs::read(path).unwrap());
        let fields = file.metadata().iter().map(|(key, value)| (key.clone(), field(key, value)));
        let tensors = file.tensors().iter().map(|(name, tensor)| {
            let bytes = &raw[tensor.offset as usize..][..tensor.bytes as usize];
            let mut values = Vec::new();
            tensor.kind.dequantize(bytes, &mut values);
            let (name, shape) = (name.clone(), tensor.shape.clone());
            (GgufAnnounced { name, kind: tensor.kind, shape }, values)
        });
        Draft { fields: fields.collect(), tensors: tensors.collect() }
    }

    /// With a key of this value.
    pub fn set(mut self, key: &str, value: GgufField) -> Draft {
        self.fields.retain(|(name, _)| name != key);
        self.fields.push((key.into(), value));
        self
    }

    /// Without a key.
    pub fn without(mut self, key: &str) -> Draft {
        self.fields.retain(|(name, _)| name != key);
        self
    }

    /// With a tensor of this name, all of one value.
    pub fn add(mut self, name: &str, shape: &[usize], value: f32) -> Draft {
        let announced =
            GgufAnnounced { name: name.into(), kind: GgufType::F32, shape: shape.to_vec() };
        self.tensors.push((announced, vec![value; shape.iter().product()]));
        self
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        let announced = self.tensors.iter().map(|(tensor, _)| tensor.clone()).collect();
        let mut writer = GgufWriter::create(path, &self.fields, announced).unwrap();
        for (tensor, values) in &self.tensors {
            writer.write(&tensor.name, values).unwrap();
        }
        writer.finish().unwrap();
    }

    /// Writes parts of it, one for each list of tensors, as `llama-gguf-split` names them; all keys
    /// are in the first.
    pub fn write_parts(
        &self,
        stem: &Path,
        parts: &[std::ops::Range<usize>],
    ) -> Vec<std::path::PathBuf> {
        let number = |n: usize| GgufField::U32(n as u32);
        let write = |(no, range): (usize, &std::ops::Range<usize>)| {
            let fields = if no == 0 { self.fields.clone() } else { Vec::new() };
            let part = Draft { fields, tensors: self.tensors[range.clone()].to_vec() };
            let part = part.set("split.no", number(no)).set("split.count", number(parts.len()));
            let part = part.set("split.tensors.count", number(self.tensors.len()));
            let end = format!("-{:05}-of-{:05}.gguf", no + 1, parts.len());
            let path = std::path::PathBuf::from(format!("{}{end}", stem.display()));
            part.write(&path);
            path
        };
        parts.iter().enumerate().map(write).collect()
    }
}
