//! Checkpoints that bitsandbytes quantized.

use wgpu_lora::format::{
    Checkpoint, DType, MemorySource, SafetensorsFile, TensorData, read_nf4, read_prequantized,
    to_safetensors,
};
use wgpu_lora::quant::{Nf4Matrix, Nf4Scales};

use super::*;

const Q: &str = "model.layers.0.self_attn.q_proj.weight";

fn checkpoint(tag: &str) -> Checkpoint {
    Checkpoint::open(golden().join("prequant").join(tag)).unwrap()
}

#[test]
fn weights_are_read_bit_for_bit() {
    for (tag, dtype, double) in
        [("bf16_double", DType::BF16, true), ("f32_single", DType::F32, false)]
    {
        let stored = checkpoint(tag);
        let linears: Vec<&str> = stored.names().filter(|n| n.ends_with("_proj.weight")).collect();
        assert_eq!(linears.len(), 21);
        for name in linears {
            let weight = read_prequantized(&stored, name).unwrap().unwrap();
            assert_eq!(weight.dtype, dtype);
            assert_eq!(matches!(weight.matrix.scales, Nf4Scales::Double { .. }), double);
            assert!(
                weight.matrix.packed == super::stored(stored.file_of(name).unwrap(), name),
                "{name}"
            );
        }
        assert_eq!(read_prequantized(&stored, "model.norm.weight").unwrap(), None);
        assert_eq!(read_prequantized(&stored, "model.embed_tokens.weight").unwrap(), None);
    }
    // The values, rounded to the type that the weight had.
    let (stored, want) = (
        checkpoint("bf16_double"),
        open(golden().join("prequant/bf16_double/dequantized.safetensors")),
    );
    assert!(want.tensors().len() >= 2);
    for (name, info) in want.tensors() {
        let matrix = read_prequantized(&stored, name).unwrap().unwrap().matrix;
        assert_eq!(info.shape, [matrix.rows, matrix.cols]);
        let rounded: Vec<f32> =
            matrix.dequantize().into_iter().map(|v| half::bf16::from_f32(v).to_f32()).collect();
        assert_bits(&rounded, &f32s(&want, name), name);
    }
}

#[test]
fn quantizing_the_original_gives_the_stored_weights() {
    // f32_single was made from tiny_a by transformers and bitsandbytes.
    let (stored, original) =
        (checkpoint("f32_single"), Checkpoint::open(golden().join("model/tiny_a")).unwrap());
    for name in original.names().filter(|n| n.ends_with("_proj.weight")) {
        let &[rows, cols] = original.info(name).unwrap().shape.as_slice() else { panic!() };
        let values = original.read_f32(name, 0..rows * cols).unwrap();
        let ours = Nf4Matrix::quantize(rows, cols, &values, false).unwrap();
        assert!(read_prequantized(&stored, name).unwrap().unwrap().matrix == ours, "{name}");
    }
}

type Parts = Vec<(String, DType, Vec<usize>, Vec<u8>)>;

/// The parts of one weight after a change, as a checkpoint.
fn changed(change: impl FnOnce(&mut Parts)) -> Checkpoint {
    let stored = checkpoint("bf16_double");
    let file = &stored.files()[0];
    let mut parts: Parts = file
        .tensors()
        .iter()
        .filter(|(name, _)| name.starts_with(Q))
        .map(|(name, info)| {
            (name.clone(), info.dtype, info.shape.clone(), super::stored(file, name))
        })
        .collect();
    assert_eq!(parts.len(), 6);
    change(&mut parts);
    let tensors: Vec<_> = parts
        .iter()
        .map(|(name, dtype, shape, bytes)| TensorData { name, dtype: *dtype, shape, bytes })
        .collect();
    let bytes = to_safetensors(&tensors, &[]).unwrap();
    let file = SafetensorsFile::open(Box::new(MemorySource::new("changed", bytes))).unwrap();
    Checkpoint::from_files(vec![file]).unwrap()
}

fn part<'a>(parts: &'a mut Parts, suffix: &str) -> &'a mut (String, DType, Vec<usize>, Vec<u8>) {
    parts.iter_mut().find(|p| p.0.ends_with(suffix)).unwrap()
}

/// With the JSON of the quantization state edited.
fn with_state(from: &str, to: &str) -> Result<Option<wgpu_lora::format::Prequantized>> {
    let checkpoint = changed(|parts| {
        let state = part(parts, "bitsandbytes__nf4");
        let text = String::from_utf8(state.3.clone()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        state.3 = text.replace(from, to).into_bytes();
        state.2 = vec![state.3.len()];
    });
    read_prequantized(&checkpoint, Q)
}

#[test]
fn other_quantizations_are_refused_by_name() {
    assert!(read_prequantized(&changed(|_| {}), Q).unwrap().is_some());
    let fp4 = changed(|parts| {
        part(parts, "bitsandbytes__nf4").0 = format!("{Q}.quant_state.bitsandbytes__fp4")
    });
    assert_error(read_prequantized(&fp4, Q), is_unsupported, &["FP4", Q, "‹quant = nf4›"]);
    let int8 = changed(|parts| {
        parts.retain(|p| p.0 == Q);
        parts[0].1 = DType::I8;
        let scale = Q.replace(".weight", ".SCB");
        parts.push((scale, DType::F32, vec![1], vec![0; 4]));
    });
    assert_error(read_prequantized(&int8, Q), is_unsupported, &["LLM.int8()", Q]);
    let stateless = changed(|parts| parts.retain(|p| !p.0.contains("quant_state")));
    assert_error(read_prequantized(&stateless, Q), is_missing, &["quant_state"]);
    for (from, to, word) in [
        ("\"quant_type\": \"nf4\"", "\"quant_type\": \"fp4\"", "fp4"),
        ("\"blocksize\": 64", "\"blocksize\": 128", "128"),
        ("\"nested_blocksize\": 256", "\"nested_blocksize\": 2048", "2048"),
        ("\"nested_dtype\": \"float32\"", "\"nested_dtype\": \"float16\"", "float16"),
        ("\"dtype\": \"bfloat16\"", "\"dtype\": \"float8_e5m2\"", "float8_e5m2"),
    ] {
        assert_error(with_state(from, to), is_unsupported, &[Q, word]);
    }
    let map = changed(|parts| part(parts, ".quant_map").3[0] ^= 1);
    assert_error(read_prequantized(&map, Q), is_unsupported, &["quant_map"]);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    for (from, to, word) in [
        ("[64, 64]", "[64]", "shape"),
        ("[64, 64]", "[64, 0]", "length 0"),
        ("[64, 64]", "[64, \"64\"]", "shape"),
        ("\"blocksize\": 64", "\"blocksize\": \"64\"", "quotation marks"),
        ("\"nested_offset\"", "\"nested_upset\"", "nested_offset"),
        ("\"dtype\": \"bfloat16\"", "\"xtype\": \"bfloat16\"", "dtype"),
        ("{", "", "quant_state"),
    ] {
        assert_error(with_state(from, to), is_format, &[word]);
    }
    assert_error(with_state("[64, 64]", "[64, 65]"), is_shape, &[Q, "2080 bytes"]);
    let axis = usize::MAX.to_string();
    assert_error(with_state("[64, 64]", &format!("[{axis}, {axis}]")), is_format, &["too large"]);
    for (suffix, dtype, shape, bytes) in [
        (".absmax", DType::U8, vec![63], vec![0; 63]),
        (".absmax", DType::F32, vec![64], vec![0; 256]),
        (".nested_absmax", DType::F32, vec![2], vec![0; 8]),
        (".nested_quant_map", DType::F32, vec![255], vec![0; 1020]),
    ] {
        let checkpoint = changed(|parts| {
            let part = part(parts, &format!("weight{suffix}"));
            (part.1, part.2, part.3) = (dtype, shape, bytes);
        });
        assert_error(read_prequantized(&checkpoint, Q), is_shape, &[suffix]);
    }
    let gone = changed(|parts| parts.retain(|p| !p.0.ends_with("nested_absmax")));
    assert_error(read_prequantized(&gone, Q), is_missing, &["nested_absmax"]);
    let nan = changed(|parts| {
        part(parts, ".nested_absmax").3 = f32::NAN.to_le_bytes().to_vec();
    });
    assert_error(read_prequantized(&nan, Q), is_format, &["absmax", "NaN"]);
}

#[test]
fn weights_are_read_as_nf4_whatever_is_stored() {
    let (stored, plain) =
        (checkpoint("f32_single"), Checkpoint::open(golden().join("model/tiny_a")).unwrap());
    let ours = read_nf4(&plain, Q, [64, 64], false, &mut |_| {}).unwrap();
    assert!(
        read_nf4(&stored, Q, [64, 64], true, &mut |_| {}).unwrap() == ours,
        "stored scales stay single"
    );
    assert!(matches!(
        read_nf4(&plain, Q, [64, 64], true, &mut |_| {}).unwrap().scales,
        Nf4Scales::Double { .. }
    ));
    for checkpoint in [&stored, &plain] {
        let wrong = read_nf4(checkpoint, Q, [32, 128], false, &mut |_| {});
        assert_error(wrong, is_shape, &[Q, "[32, 128]", "[64, 64]"]);
    }
    let mut bytes = vec![0; 64 * 4];
    bytes[40..44].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let tensor = TensorData { name: "w", dtype: DType::F32, shape: &[8, 8], bytes: &bytes };
    let file = to_safetensors(&[tensor], &[]).unwrap();
    let file = SafetensorsFile::open(Box::new(MemorySource::new("damaged", file))).unwrap();
    let damaged = Checkpoint::from_files(vec![file]).unwrap();
    assert_error(
        read_nf4(&damaged, "w", [8, 8], true, &mut |_| {}),
        is_format,
        &["damaged", "`w`", "[1, 2]"],
    );
}

/// The real model, where `cargo xtask models` has put it: dequantized weights against those of
/// bitsandbytes.
#[test]
fn the_real_model_quantizes_like_bitsandbytes() {
    let Some(models) = std::env::var_os("WGPU_LORA_MODELS") else { return };
    let folder = Path::new(&models).join("smollm2-135m");
    if !folder.is_dir() {
        return;
    }
    let model = Checkpoint::open(folder).unwrap();
    let text = std::fs::read(golden().join("smollm2/smollm2.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let sums = json["nf4_weight_checksums"].as_object().unwrap();
    assert_eq!(sums.len(), 4);
    for (module, want) in sums {
        let name = format!("{module}.weight");
        let &[rows, cols] = model.info(&name).unwrap().shape.as_slice() else { panic!() };
        let got = read_nf4(&model, &name, [rows, cols], true, &mut |_| {}).unwrap().dequantize();
        let first: Vec<f32> = serde_json::from_value(want["first8"].clone()).unwrap();
        assert_bits(&got[..8], &first, module);
        let sum: f64 = got.iter().map(|v| f64::from(*v)).sum();
        let absolute: f64 = got.iter().map(|v| f64::from(v.abs())).sum();
        for (got, key) in [(sum, "sum_f64"), (absolute, "abs_sum_f64")] {
            let want = want[key].as_f64().unwrap();
            assert!((got - want).abs() < 1e-12 * absolute, "{module}: {key} {got} is not {want}");
        }
    }
}
