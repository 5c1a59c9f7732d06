//! `nf4`: quantization on the host, byte for byte, and the values that shaders read from it.

use std::collections::BTreeSet;

use super::devices::{self, Device};
use super::judge::{Case, Judge, Outcome, worse, wrong};
use super::set::{File, Set};
use pollster::block_on;
use wgpu_lora::format::DType;
use wgpu_lora::gpu::Tensor;
use wgpu_lora::kernels::{LinearBwd, LinearFwd, Matrix};
use wgpu_lora::model::upload_nf4;
use wgpu_lora::quant::{NF4_CODE, NF4_THRESHOLDS, Nf4Matrix, Nf4Scales, dynamic8_code};

/// A device may fuse the product and sum of a scale: one ulp of it, and half an ulp of the value.
const ULPS: f64 = 1.5;

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for name in set.folders("nf4")? {
        cases.push(Case::broken(&format!("nf4/{name}"), "an unknown folder"));
    }
    for name in set.files("nf4")? {
        let path = format!("nf4/{name}");
        match name.as_str() {
            "nf4.json" => {}
            "codebooks.safetensors" => {
                let set = set.clone();
                cases.push(Case::new("nf4/codebooks", move |judge| {
                    code_books(judge, &set.open(&path)?)
                }));
            }
            "nf4.safetensors" | "nf4_half.safetensors" => {
                let file = set.open(&path)?;
                let title = path.trim_end_matches(".safetensors");
                let found: BTreeSet<&str> =
                    file.names().filter_map(|key| key.strip_suffix(".input")).collect();
                let known = |key: &str| found.iter().any(|c| key.starts_with(&format!("{c}.")));
                if let Some(key) = file.names().find(|key| !known(key)) {
                    cases.push(Case::broken(&format!("{title}/{key}"), "has no input"));
                }
                let half = title.ends_with("half");
                for case in found {
                    let (set, path, case) = (set.clone(), path.clone(), case.to_owned());
                    cases.push(Case::new(format!("{title}/{case}"), move |judge| {
                        run(judge, &set.open(&path)?, &case, half)
                    }));
                }
            }
            _ => cases.push(Case::broken(&path, "an unknown file")),
        }
    }
    Ok(cases)
}

fn code_books(judge: &mut Judge, file: &File) -> Outcome {
    for name in file.names() {
        let got = match name {
            "nf4_code" => NF4_CODE.to_vec(),
            "nf4_thresholds" => NF4_THRESHOLDS.to_vec(),
            "dynamic8_code" => dynamic8_code(true),
            _ => return wrong(format!("unknown code book `{name}`")),
        };
        compare_bits(judge, name, &got, &file.f32(name)?);
    }
    Ok(())
}

/// How many values differ in any bit; all of them if the lengths differ.
pub fn bits_differ(got: &[f32], want: &[f32]) -> usize {
    if got.len() != want.len() {
        return got.len().max(want.len());
    }
    got.iter().zip(want).filter(|(got, want)| got.to_bits() != want.to_bits()).count()
}

fn compare_bits(judge: &mut Judge, what: &str, got: &[f32], want: &[f32]) {
    judge.compare(&format!("{what}, values that differ"), bits_differ(got, want) as f64, 0.0);
}

fn compare_bytes(judge: &mut Judge, what: &str, got: &[u8], want: &[u8]) {
    let different = match got.len() == want.len() {
        true => got.iter().zip(want).filter(|(got, want)| got != want).count(),
        false => got.len().max(want.len()),
    };
    judge.compare(&format!("{what}, bytes that differ"), different as f64, 0.0);
}

/// One case: `half` files hold results of double quantization alone, rounded to the input's type.
fn run(judge: &mut Judge, file: &File, case: &str, half: bool) -> Outcome {
    let name = |part: &str| format!("{case}.{part}");
    let input = file.f32(&name("input"))?;
    let (rows, cols) = match *file.shape(&name("input"))? {
        [rows, cols] => (rows, cols),
        _ => (1, input.len()),
    };
    let double = Nf4Matrix::quantize(rows, cols, &input, true)?;
    let single = Nf4Matrix::quantize(rows, cols, &input, false)?;
    if file.has(&name("packed_u8")) {
        compare_bytes(judge, "codes", &double.packed, &file.bytes(&name("packed_u8"))?);
    }
    let dtype = file.0.info(&name("input"))?.dtype;
    if half {
        // Files of this kind have no prefix for double quantization.
        compare_double(judge, file, &|part| format!("{case}.{part}"), &double, dtype)?;
    } else {
        for (part, got) in [("absmax", single.absmax()), ("dequant", single.dequantize())] {
            if file.has(&name(part)) {
                compare_bits(judge, part, &got, &file.f32(&name(part))?);
            }
        }
        compare_double(judge, file, &|part| format!("{case}.dq.{part}"), &double, dtype)?;
    }
    devices::each(judge, |judge, device| {
        for (what, matrix) in [("f32 scales", &single), ("8-bit scales", &double)] {
            compare_on_device(judge, device, what, matrix)?;
        }
        Ok(())
    })
}

fn compare_double(
    judge: &mut Judge,
    file: &File,
    name: &dyn Fn(&str) -> String,
    matrix: &Nf4Matrix,
    dtype: DType,
) -> Outcome {
    let Nf4Scales::Double { codes, nested_absmax, offset, code_book } = &matrix.scales else {
        return wrong("the scales were not quantized");
    };
    let mut matrix = matrix.clone();
    let stored = |part: &str| match file.has(&name(part)) {
        true => file.f32(&name(part)).map(Some),
        false => Ok(None),
    };
    let offsets = stored("offset")?;
    if offsets.as_ref().is_some_and(|want| want[0].to_bits() != offset.to_bits()) {
        // The mean of the scales depends on the order of its sum, and so on the machine: what
        // follows from the stored offset must be exact all the same.
        let want = offsets.unwrap_or_default()[0];
        judge.compare("double offset, ulps", ulps_apart(*offset, want), 1.0);
        let nested = stored("nested_absmax")?.unwrap_or_else(|| nested_absmax.clone());
        let pairs = nested_absmax.iter().zip(&nested);
        let worst = pairs.map(|(got, want)| ulps_apart(*got, *want)).fold(0.0, f64::max);
        judge.compare("double nested_absmax, ulps", worst, 4.0);
        let codes = match file.has(&name("absmax_u8")) {
            true => compare_codes(judge, codes, &file.bytes(&name("absmax_u8"))?),
            false => codes.clone(),
        };
        matrix.scales = Nf4Scales::Double {
            codes,
            nested_absmax: nested,
            offset: want,
            code_book: code_book.clone(),
        };
    } else {
        if file.has(&name("absmax_u8")) {
            compare_bytes(judge, "codes of scales", codes, &file.bytes(&name("absmax_u8"))?);
        }
        for (part, got) in [("nested_absmax", nested_absmax), ("offset", &vec![*offset])] {
            if let Some(want) = stored(part)? {
                compare_bits(judge, &format!("double {part}"), got, &want);
            }
        }
    }
    let mut values = matrix.dequantize();
    for value in &mut values {
        *value = match dtype {
            DType::BF16 => half::bf16::from_f32(*value).to_f32(),
            DType::F16 => half::f16::from_f32(*value).to_f32(),
            _ => *value,
        };
    }
    for (part, got) in [("absmax_restored", matrix.absmax()), ("dequant", values)] {
        if let Some(want) = stored(part)? {
            compare_bits(judge, &format!("double {part}"), &got, &want);
        }
    }
    Ok(())
}

/// How many representable numbers lie between two of one sign.
fn ulps_apart(a: f32, b: f32) -> f64 {
    f64::from(a.to_bits().abs_diff(b.to_bits()))
}

/// Codes made with another offset: here and there one is off by one. Returns the stored ones.
fn compare_codes(judge: &mut Judge, got: &[u8], want: &[u8]) -> Vec<u8> {
    let distance = got.iter().zip(want).map(|(got, want)| got.abs_diff(*want)).max();
    let others = got.iter().zip(want).filter(|(got, want)| got != want).count();
    judge.compare("codes of scales, largest distance", f64::from(distance.unwrap_or(255)), 1.0);
    let few = 1.0f64.max(want.len() as f64 / 100.0);
    judge.compare("codes of scales, that differ", others as f64, few);
    want.to_vec()
}

/// The largest identity that is multiplied: what it costs grows with its square.
const WIDEST: usize = 512;

/// Uploads the matrix as loading does and reads its values back through the products of the model:
/// `W` as the gradient of an identity, and transposed as the product with one.
fn compare_on_device(
    judge: &mut Judge,
    device: &Device,
    what: &str,
    matrix: &Nf4Matrix,
) -> Outcome {
    let gpu = &device.gpu;
    let table = gpu.table("scale values", &dynamic8_code(true))?;
    let w = upload_nf4(gpu, "weight", matrix, &table)?;
    let (n, k) = (matrix.rows, matrix.cols);
    let identity = |n: usize| -> Outcome<Tensor> {
        let mut values = vec![0.0; n * n];
        (0..n).for_each(|i| values[i * n + i] = 1.0);
        Ok(gpu.upload("identity", &[n, n], &values)?)
    };
    let mut errors = Vec::new();
    if n <= WIDEST {
        let (dy, dx) = (identity(n)?, gpu.zeros("values", &[n, k])?);
        let mut rec = gpu.recorder("golden");
        let op = LinearBwd {
            dy: &dy,
            first: 0,
            w: &w,
            dx: &dx,
            accumulate: false,
            scale: 1.0,
            half: false,
        };
        rec.record(&op)?;
        rec.submit()?;
        errors.push(("backward", ulps(matrix, &block_on(gpu.read(&dx))?)));
    }
    if k <= WIDEST {
        errors.push(("forward", ulps(matrix, &transposed(device, &w, &identity(k)?)?)));
    }
    for (pass, error) in errors {
        judge.compare(&format!("{what}, {pass} shader, ulps of the scale"), error, ULPS);
    }
    Ok(())
}

fn transposed(device: &Device, w: &Matrix, x: &Tensor) -> Outcome<Vec<f32>> {
    let gpu = &device.gpu;
    let y = gpu.zeros("values", &[w.cols, w.rows])?;
    let mut rec = gpu.recorder("golden");
    rec.record(&LinearFwd::new(x, w, &y))?;
    rec.submit()?;
    let values = block_on(gpu.read(&y))?;
    let at = |i: usize| values[i % w.cols * w.rows + i / w.cols];
    Ok((0..w.rows * w.cols).map(at).collect())
}

/// The largest difference from the host's values, in ulps of each block's scale. Devices may flush
/// what is below the smallest normal number. A scale is a sum: where it nearly cancels, its parts'
/// ulp counts.
fn ulps(matrix: &Nf4Matrix, got: &[f32]) -> f64 {
    let offset = match matrix.scales {
        Nf4Scales::Double { offset, .. } => offset,
        Nf4Scales::Single { .. } => 0.0,
    };
    let scales = matrix.absmax();
    let want = matrix.dequantize();
    if got.len() != want.len() {
        return f64::NAN;
    }
    let mut worst = 0.0;
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let largest = scales[i / 64].abs().max(offset.abs());
        let ulp = f64::from(largest.next_up()) - f64::from(largest);
        let error = (f64::from(*got) - f64::from(*want)).abs();
        worst = worse(worst, error / ulp.max(f64::from(f32::MIN_POSITIVE)));
    }
    worst
}
