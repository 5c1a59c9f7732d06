//! Weights that bitsandbytes quantized to NF4 and transformers saved: read bit for bit, never
//! quantized again.

use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::json::Object;
use super::safetensors::{DType, decode};
use crate::error::{Error, Result};
use crate::quant::{NESTED_BLOCK, NF4_BLOCK, NF4_CODE, Nf4Matrix, Nf4Scales};

const HINT: &str = "NF4 with blocks of 64 (and of 256 for the scales) works; or take the model's unquantized weights and ‹quant = nf4›";

/// A stored NF4 weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Prequantized {
    /// Codes and scales as they were stored.
    pub matrix: Nf4Matrix,
    /// Type of the weight before quantization, to which transformers rounds the dequantized values.
    pub dtype: DType,
}

/// Reads the weight `name` (`model.layers.0.self_attn.q_proj.weight`) if it is stored in 4 bits;
/// `None` if it is a plain tensor.
///
/// The keys are `<name>` (packed codes), `.absmax`, `.quant_map`, `.quant_state.bitsandbytes__nf4`
/// (JSON in bytes) and, for double quantization, `.nested_absmax` and `.nested_quant_map`.
///
/// **Errors** [`Error::Unsupported`] for FP4, LLM.int8(), other block sizes or another code book;
/// [`Error::Shape`] and [`Error::Format`] if the parts do not fit together;
/// [`Error::MissingTensor`].
pub fn read_prequantized(checkpoint: &Checkpoint, name: &str) -> Result<Option<Prequantized>> {
    let state_key = format!("{name}.quant_state.bitsandbytes__nf4");
    if !checkpoint.contains(&state_key) {
        refuse_others(checkpoint, name)?;
        return Ok(None);
    }
    let state = State::read(checkpoint, name, &state_key)?;
    let part = |suffix: &str, dtype, shape: &[usize]| {
        part(checkpoint, &format!("{name}.{suffix}"), dtype, shape)
    };
    let quant_map = decode(&part("quant_map", DType::F32, &[16])?, f32::from_le_bytes);
    if quant_map != NF4_CODE {
        return Err(unsupported(checkpoint, format!("`{name}.quant_map`, which is not NF4's,")));
    }
    let values = state
        .rows
        .checked_mul(state.cols)
        .ok_or_else(|| Error::format(checkpoint.name(), &state_key, "key `shape`: too large"))?;
    // bitsandbytes can present the packed bytes as another type (quant_storage): the bytes are the
    // same.
    let info = checkpoint.info(name)?;
    if info.bytes != values.div_ceil(2) as u64 {
        return Err(Error::Shape {
            op: checkpoint.file_of(name)?.name().into(),
            tensor: name.into(),
            expected: format!("{} bytes for {} x {}", values.div_ceil(2), state.rows, state.cols),
            got: format!("{:?} of {}", info.shape, info.dtype),
        });
    }
    let mut packed = Vec::new();
    checkpoint.read_bytes(name, 0..info.bytes, &mut packed)?;
    let blocks = values.div_ceil(NF4_BLOCK);
    let scales = match state.offset {
        None => Nf4Scales::Single {
            absmax: decode(&part("absmax", DType::F32, &[blocks])?, f32::from_le_bytes),
        },
        Some(offset) => {
            let nested = part("nested_absmax", DType::F32, &[blocks.div_ceil(NESTED_BLOCK)])?;
            let code_book = part("nested_quant_map", DType::F32, &[256])?;
            Nf4Scales::Double {
                codes: part("absmax", DType::U8, &[blocks])?,
                nested_absmax: decode(&nested, f32::from_le_bytes),
                offset,
                code_book: decode(&code_book, f32::from_le_bytes),
            }
        }
    };
    let matrix = Nf4Matrix { rows: state.rows, cols: state.cols, packed, scales };
    if matrix.absmax().iter().any(|a| !a.is_finite()) {
        return Err(Error::format(
            checkpoint.name(),
            format!("`{name}.absmax`"),
            "a scale is NaN or infinite",
        ));
    }
    Ok(Some(Prequantized { matrix, dtype: state.dtype }))
}

/// `quant_state.bitsandbytes__nf4`.
struct State {
    rows: usize,
    cols: usize,
    dtype: DType,
    /// Present with double quantization.
    offset: Option<f32>,
}

impl State {
    fn read(checkpoint: &Checkpoint, name: &str, key: &str) -> Result<Self> {
        let info = checkpoint.info(key)?;
        let label = format!("{}: `{key}`", checkpoint.file_of(key)?.name());
        if info.dtype != DType::U8 || info.bytes > 65536 {
            return Err(Error::format(label, "type", "should be a few bytes of JSON in U8"));
        }
        let mut bytes = Vec::new();
        checkpoint.read_bytes(key, 0..info.bytes, &mut bytes)?;
        let value: Value = super::json::parse(&label, &bytes)?;
        let o = Object::new(&label, &value)?;
        let quant_type = o.string("quant_type")?.unwrap_or("missing");
        if quant_type != "nf4" {
            return Err(o.unsupported("quant_type", quant_type, HINT));
        }
        let blocksize = o.size("blocksize")?.ok_or_else(|| o.error("blocksize", "is missing"))?;
        if blocksize != NF4_BLOCK {
            return Err(o.unsupported("blocksize", blocksize, HINT));
        }
        let dtype_name = o.string("dtype")?.ok_or_else(|| o.error("dtype", "is missing"))?;
        let dtype = DType::from_torch_name(dtype_name)
            .filter(|d| matches!(d, DType::F32 | DType::F16 | DType::BF16))
            .ok_or_else(|| {
                o.unsupported("dtype", dtype_name, "float32, float16 and bfloat16 work")
            })?;
        let shape: Option<Vec<usize>> = o.get("shape").and_then(Value::as_array).and_then(|axes| {
            axes.iter().map(|a| a.as_u64().and_then(|n| usize::try_from(n).ok())).collect()
        });
        let Some(&[rows, cols]) = shape.as_deref() else {
            return Err(
                o.error("shape", format!("should be [rows, columns] of the matrix `{name}`"))
            );
        };
        if rows == 0 || cols == 0 {
            return Err(o.error("shape", "has an axis of length 0"));
        }
        let offset = match o.size("nested_blocksize")? {
            None => None,
            Some(NESTED_BLOCK) => {
                let offset = o.number("nested_offset")?;
                let offset = offset.ok_or_else(|| o.error("nested_offset", "is missing"))?;
                if let Some(other) = o.string("nested_dtype")?.filter(|d| *d != "float32") {
                    return Err(o.unsupported("nested_dtype", other, "float32 works"));
                }
                Some(offset as f32)
            }
            Some(other) => return Err(o.unsupported("nested_blocksize", other, HINT)),
        };
        Ok(Self { rows, cols, dtype, offset })
    }
}

/// The bytes of a tensor of known type and shape.
fn part(checkpoint: &Checkpoint, name: &str, dtype: DType, shape: &[usize]) -> Result<Vec<u8>> {
    let info = checkpoint.info(name)?;
    if info.dtype != dtype || info.shape != shape {
        return Err(Error::Shape {
            op: checkpoint.file_of(name)?.name().into(),
            tensor: name.into(),
            expected: format!("{shape:?} of {dtype}"),
            got: format!("{:?} of {}", info.shape, info.dtype),
        });
    }
    let mut bytes = Vec::new();
    checkpoint.read_bytes(name, 0..info.bytes, &mut bytes)?;
    Ok(bytes)
}

/// Other quantizations of the same weight are refused by name, not read as if they were plain
/// numbers.
fn refuse_others(checkpoint: &Checkpoint, name: &str) -> Result<()> {
    if checkpoint.contains(&format!("{name}.quant_state.bitsandbytes__fp4")) {
        return Err(unsupported(checkpoint, format!("FP4 weight `{name}`")));
    }
    let module = name.strip_suffix(".weight").unwrap_or(name);
    if checkpoint.contains(&format!("{module}.SCB")) || checkpoint.contains(&format!("{name}.SCB"))
    {
        return Err(unsupported(checkpoint, format!("LLM.int8() weight `{name}`")));
    }
    if checkpoint.contains(&format!("{name}.absmax")) {
        let key = format!("{name}.quant_state.bitsandbytes__nf4");
        return Err(Error::MissingTensor {
            name: key,
            file: checkpoint.name().into(),
            hint: ", although the weight has block scales; save the model again with transformers"
                .into(),
        });
    }
    Ok(())
}

fn unsupported(checkpoint: &Checkpoint, what: String) -> Error {
    Error::Unsupported { what: format!("{}: {what}", checkpoint.name()), hint: HINT.into() }
}
