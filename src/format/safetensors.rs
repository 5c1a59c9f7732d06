//! Reading safetensors: eight bytes of header length, a JSON header, and tensors back to back.
//!
//! **Source** the format section of the safetensors documentation. The header is parsed here and
//! not by the safetensors crate, because a damaged file should be explained by tensor, offset and
//! size.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};

use super::source::{ByteSource, FileSource};
use crate::error::{Error, Result};

/// The largest header that the format allows, in bytes.
pub(crate) const MAX_HEADER: u64 = 100_000_000;

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8 bits.
    U8,
    /// Signed 8 bits.
    I8,
    /// Float 8 bits, 5 of exponent.
    F8E5M2,
    /// Float 8 bits, 4 of exponent.
    F8E4M3,
    /// Signed 16 bits.
    I16,
    /// Unsigned 16 bits.
    U16,
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// Signed 32 bits.
    I32,
    /// Unsigned 32 bits.
    U32,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Signed 64 bits.
    I64,
    /// Unsigned 64 bits.
    U64,
}

impl DType {
    const NAMES: [(&str, Self, &str); 15] = [
        ("BOOL", Self::Bool, "bool"),
        ("U8", Self::U8, "uint8"),
        ("I8", Self::I8, "int8"),
        ("F8_E5M2", Self::F8E5M2, "float8_e5m2"),
        ("F8_E4M3", Self::F8E4M3, "float8_e4m3fn"),
        ("I16", Self::I16, "int16"),
        ("U16", Self::U16, "uint16"),
        ("F16", Self::F16, "float16"),
        ("BF16", Self::BF16, "bfloat16"),
        ("I32", Self::I32, "int32"),
        ("U32", Self::U32, "uint32"),
        ("F32", Self::F32, "float32"),
        ("F64", Self::F64, "float64"),
        ("I64", Self::I64, "int64"),
        ("U64", Self::U64, "uint64"),
    ];

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E5M2 | Self::F8E4M3 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The name in a safetensors header, such as `BF16`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|n| n.1 == self).map_or("?", |n| n.0)
    }

    /// The type of a safetensors name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|n| n.0 == name).map(|n| n.1)
    }

    /// The type of a PyTorch name, such as `bfloat16` or `torch.bfloat16`.
    pub fn from_torch_name(name: &str) -> Option<Self> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        Self::NAMES.iter().find(|n| n.2 == name).map(|n| n.1)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a header says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: DType,
    /// Axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Position of the first byte in the file.
    pub offset: u64,
    /// Size in bytes: product of `shape` times the bytes of `dtype`.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An opened safetensors file: its checked header, and a source to read tensors from.
pub struct SafetensorsFile {
    source: Box<dyn ByteSource>,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
}

impl fmt::Debug for SafetensorsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetensorsFile({}, {} tensors)", self.name(), self.tensors.len())
    }
}

impl SafetensorsFile {
    /// Reads and checks the header; tensors are read later.
    ///
    /// **Errors** [`Error::Format`] if the header does not fit into the file, is no JSON, has an
    /// unknown element type, or if tensors overlap, leave gaps, have a size other than shape times
    /// type, or end elsewhere than the file does.
    pub fn open(source: Box<dyn ByteSource>) -> Result<Self> {
        let (header, data_start) = read_header(source.as_ref())?;
        let (tensors, metadata) = check_header(source.as_ref(), header, data_start)?;
        Ok(Self { source, tensors, metadata })
    }

    /// [`SafetensorsFile::open`] of a file on disk.
    pub fn open_path(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(Box::new(FileSource::open(path)?))
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// Gives tensors other names.
    ///
    /// **Errors** [`Error::Format`] if two get the same.
    pub(super) fn rename(&mut self, name: impl Fn(&str) -> String) -> Result<()> {
        for (old, info) in std::mem::take(&mut self.tensors) {
            let new = name(&old);
            if self.tensors.insert(new.clone(), info).is_some() {
                let why = format!("is there twice, with and without `model.` in front of `{old}`");
                return Err(Error::format(self.name(), format!("tensor `{new}`"), why));
            }
        }
        Ok(())
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The strings under `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What is known of a tensor.
    ///
    /// **Errors** [`Error::MissingTensor`].
    pub fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            name: name.into(),
            file: self.name().into(),
            hint: match self.tensors.keys().next() {
                Some(first) => {
                    format!("; it holds {} others, such as `{first}`", self.tensors.len())
                }
                None => "; it holds none".into(),
            },
        })
    }

    /// Replaces the content of `out` with some bytes of a tensor (`0..info.bytes` for all).
    ///
    /// **Errors** [`Error::MissingTensor`], [`Error::Invalid`] for a range outside the tensor, or
    /// those of the source.
    pub fn read_bytes(&self, name: &str, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let info = self.info(name)?;
        let length = range.end.checked_sub(range.start).filter(|_| range.end <= info.bytes);
        let length = length.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
            Error::invalid(
                format!("bytes {}..{} of `{name}` in {}", range.start, range.end, self.name()),
                format!("the tensor has {} bytes", info.bytes),
            )
        })?;
        out.clear();
        out.resize(length, 0);
        self.source.read_at(info.offset + range.start, out)
    }

    /// Some elements of an F32, F16 or BF16 tensor as `f32`, exactly; `0..info.elements()` for all.
    ///
    /// **Errors** as [`SafetensorsFile::read_bytes`], and [`Error::Unsupported`] for another
    /// element type.
    pub fn read_f32(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>> {
        let dtype = self.info(name)?.dtype;
        let size = match dtype {
            DType::F32 | DType::F16 | DType::BF16 => dtype.bytes() as u64,
            other => {
                return Err(Error::Unsupported {
                    what: format!(
                        "reading `{name}` of {} as numbers: its type {other}",
                        self.name()
                    ),
                    hint: "weights are read from F32, F16 and BF16".into(),
                });
            }
        };
        let bytes =
            (range.start as u64).saturating_mul(size)..(range.end as u64).saturating_mul(size);
        let mut raw = Vec::new();
        self.read_bytes(name, bytes, &mut raw)?;
        Ok(match dtype {
            DType::F32 => decode(&raw, f32::from_le_bytes),
            DType::F16 => decode(&raw, |b| half::f16::from_le_bytes(b).to_f32()),
            _ => decode(&raw, |b| half::bf16::from_le_bytes(b).to_f32()),
        })
    }
}

/// Little-endian elements of `N` bytes each.
pub(crate) fn decode<const N: usize, T>(raw: &[u8], one: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|b| one(*b)).collect()
}

/// The header's text and the position behind it.
fn read_header(source: &dyn ByteSource) -> Result<(Vec<u8>, u64)> {
    let (name, len) = (source.name(), source.len());
    if len < 8 {
        let why =
            format!("a safetensors file starts with 8 bytes of header length, this has {len}");
        return Err(Error::format(name, "byte 0", why));
    }
    let mut head = [0; 8];
    source.read_at(0, &mut head)?;
    let wanted = u64::from_le_bytes(head);
    if wanted > MAX_HEADER {
        let why = format!(
            "a header of {wanted} bytes is announced, the format allows {MAX_HEADER}: this is no safetensors file"
        );
        return Err(Error::format(name, "byte 0", why));
    }
    if wanted > len - 8 {
        let why = format!(
            "the header should end at byte {}, but the file has {len} bytes: it is truncated or no safetensors file",
            8 + wanted
        );
        return Err(Error::format(name, "byte 0", why));
    }
    let mut header = vec![0; wanted as usize];
    source.read_at(8, &mut header)?;
    Ok((header, 8 + wanted))
}

/// One entry of the header, in the format's own words.
#[derive(Deserialize)]
struct RawInfo {
    dtype: String,
    #[serde(deserialize_with = "axes")]
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// A shape of at most 64 axes: a header is a small part of a file, and its lists should be, too.
fn axes<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Vec<u64>, D::Error> {
    struct Axes;
    impl<'de> Visitor<'de> for Axes {
        type Value = Vec<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of at most 64 sizes")
        }

        fn visit_seq<A: SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> std::result::Result<Vec<u64>, A::Error> {
            let mut axes = Vec::new();
            while let Some(axis) = list.next_element()? {
                if axes.len() == 64 {
                    return Err(serde::de::Error::invalid_length(65, &self));
                }
                axes.push(axis);
            }
            Ok(axes)
        }
    }
    d.deserialize_seq(Axes)
}

/// The header's entries in file order. A map would silently keep the last of two equal names.
struct RawHeader {
    tensors: Vec<(String, RawInfo)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
                while let Some(key) = map.next_key::<String>()? {
                    if key == "__metadata__" {
                        // Some writers put null here.
                        let strings = map.next_value::<Option<BTreeMap<String, String>>>()?;
                        header.metadata = strings.unwrap_or_default();
                    } else {
                        header.tensors.push((key, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        d.deserialize_map(Entries)
    }
}

type Header = (BTreeMap<String, TensorInfo>, BTreeMap<String, String>);

fn check_header(source: &dyn ByteSource, header: Vec<u8>, data_start: u64) -> Result<Header> {
    let bad = |at: &dyn fmt::Display, why: String| Error::format(source.name(), at, why);
    let mut raw: RawHeader = serde_json::from_slice(&header)
        .map_err(|e| bad(&"header", format!("no valid safetensors header: {e}")))?;
    raw.tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut tensors = BTreeMap::new();
    let mut expected_start = 0;
    for (name, info) in raw.tensors {
        let at = format!("tensor `{name}`");
        let dtype = DType::from_name(&info.dtype)
            .ok_or_else(|| bad(&at, format!("unknown element type `{}`", info.dtype)))?;
        let (start, end) = info.data_offsets;
        if start != expected_start || end < start {
            let kind =
                if start < expected_start { "overlaps another tensor" } else { "leaves a gap" };
            let why =
                format!("its bytes {start}..{end} should start at {expected_start}: it {kind}");
            return Err(bad(&at, why));
        }
        expected_start = end;
        let shape: Option<Vec<usize>> =
            info.shape.iter().map(|&n| usize::try_from(n).ok()).collect();
        let elements = info.shape.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis));
        let bytes = elements.and_then(|n| n.checked_mul(dtype.bytes() as u64));
        let (Some(shape), true) = (shape, bytes == Some(end - start)) else {
            let why = format!(
                "shape {:?} of {dtype} does not take the {} bytes that the header gives it",
                info.shape,
                end - start
            );
            return Err(bad(&at, why));
        };
        let info = TensorInfo {
            dtype,
            shape,
            offset: data_start.saturating_add(start),
            bytes: end - start,
        };
        if tensors.insert(name, info).is_some() {
            return Err(bad(&at, "is listed twice".into()));
        }
    }
    let end = data_start.saturating_add(expected_start);
    if source.len() != end {
        let kind = if source.len() < end {
            "it is truncated; download it again"
        } else {
            "bytes follow the last tensor"
        };
        let why = format!("the file should have {end} bytes and has {}: {kind}", source.len());
        return Err(bad(&"tensor data", why));
    }
    Ok((tensors, raw.metadata))
}
