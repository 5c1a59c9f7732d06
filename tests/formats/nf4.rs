//! Quantization against bitsandbytes.

use std::collections::BTreeSet;
use std::path::Path;

use wgpu_lora::format::SafetensorsFile;
use wgpu_lora::quant::{
    NF4_CODE, NF4_THRESHOLDS, Nf4Matrix, Nf4Quantizer, Nf4Scales, dynamic8_code, mean_like_torch,
    nearest_code, quantize,
};

use super::*;

fn sets() -> impl Iterator<Item = PathBuf> {
    std::iter::once(golden()).chain(large_golden()).map(|set| set.join("nf4"))
}

/// Calls `check(file, case, input)` for each case and returns how many there were.
fn each_case(set: &Path, mut check: impl FnMut(&SafetensorsFile, &str, &[f32])) -> usize {
    let file = open(set.join("nf4.safetensors"));
    let cases: BTreeSet<&str> =
        file.tensors().keys().filter_map(|k| k.strip_suffix(".input")).collect();
    for case in &cases {
        check(&file, case, &f32s(&file, &format!("{case}.input")));
    }
    cases.len()
}

/// The large cases of the reduced set come without what follows from their formula.
fn if_there(file: &SafetensorsFile, name: &str, check: impl FnOnce(&[f32])) {
    if file.tensors().contains_key(name) {
        check(&f32s(file, name));
    }
}

#[test]
fn code_books_are_those_of_bitsandbytes() {
    for set in sets() {
        let file = open(set.join("codebooks.safetensors"));
        assert_bits(&NF4_CODE, &f32s(&file, "nf4_code"), "code");
        assert_bits(&NF4_THRESHOLDS, &f32s(&file, "nf4_thresholds"), "thresholds");
        assert_bits(&dynamic8_code(true), &f32s(&file, "dynamic8_code"), "dynamic8");
    }
    if let Some(set) = large_golden() {
        let file = open(set.join("train/adamw8bit.safetensors"));
        assert_bits(&dynamic8_code(true), &f32s(&file, "state.qmap1"), "signed");
        assert_bits(&dynamic8_code(false), &f32s(&file, "state.qmap2"), "unsigned");
    }
}

#[test]
fn packed_bytes_and_scales_are_exact() {
    for set in sets() {
        let n = each_case(&set, |file, case, x| {
            let (packed, absmax) = quantize(x);
            assert!(packed == u8s(file, &format!("{case}.packed_u8")), "{case}");
            assert_bits(&absmax, &f32s(file, &format!("{case}.absmax")), case);
            let matrix = Nf4Matrix::quantize(1, x.len(), x, false).unwrap();
            if_there(file, &format!("{case}.dequant"), |want| {
                assert_bits(&matrix.dequantize(), want, case);
            });
        });
        assert!(n >= 16, "only {n} cases in {}", set.display());
    }
}

#[test]
fn double_quantization_is_exact() {
    for set in sets() {
        each_case(&set, |file, case, x| {
            let matrix = Nf4Matrix::quantize(1, x.len(), x, true).unwrap();
            let Nf4Scales::Double { codes, nested_absmax, offset, .. } = &matrix.scales else {
                panic!("{case}: not double")
            };
            assert!(matrix.packed == u8s(file, &format!("{case}.packed_u8")), "{case}");
            let get = |part: &str| f32s(file, &format!("{case}.{part}"));
            assert_bits(&[*offset], &get("dq.offset"), &format!("{case} offset"));
            assert_bits(nested_absmax, &get("dq.nested_absmax"), &format!("{case} nested"));
            assert_eq!(*codes, u8s(file, &format!("{case}.dq.absmax_u8")), "{case}");
            let restored = get("dq.absmax_restored");
            assert_bits(&matrix.absmax(), &restored, &format!("{case} restored"));
            if_there(file, &format!("{case}.dq.dequant"), |want| {
                assert_bits(&matrix.dequantize(), want, case);
            });
        });
    }
}

#[test]
fn half_precision_inputs_are_exact() {
    for set in sets() {
        let file = open(set.join("nf4_half.safetensors"));
        for kind in ["bf16", "f16"] {
            let get = |part: &str| format!("{kind}.{part}");
            let x = f32s(&file, &get("input"));
            let matrix = Nf4Matrix::quantize(32, 96, &x, true).unwrap();
            assert!(matrix.packed == u8s(&file, &get("packed_u8")), "{kind}");
            let round: fn(f32) -> f32 = match kind {
                "bf16" => |v| half::bf16::from_f32(v).to_f32(),
                _ => |v| half::f16::from_f32(v).to_f32(),
            };
            let got: Vec<f32> = matrix.dequantize().into_iter().map(round).collect();
            assert_bits(&got, &f32s(&file, &get("dequant")), kind);
        }
    }
}

#[test]
fn comparison_notices_one_nibble_and_one_ulp() {
    let file = open(golden().join("nf4/nf4.safetensors"));
    let mut x = f32s(&file, "codebook_and_midpoints.input");
    let (packed, _) = quantize(&x);
    // Element 16 is a midpoint: a tie goes down, one ulp more goes up.
    x[16] = f32::from_bits(x[16].to_bits() - 1);
    let (moved, _) = quantize(&x);
    assert_eq!(packed[8] >> 4, 0);
    assert_eq!(moved[8] >> 4, 1);
    assert_eq!(packed[9..], moved[9..]);
}

#[test]
fn pieces_give_the_same_bytes_as_the_whole() {
    let x: Vec<f32> = (0..7 * 131).map(|i| ((i * 7919 % 1000) as f32 - 500.0) / 300.0).collect();
    for double in [false, true] {
        let whole = Nf4Matrix::quantize(7, 131, &x, double).unwrap();
        for piece in [1, 63, 64, 65, 131, 300] {
            let mut quantizer = Nf4Quantizer::new(7, 131).unwrap();
            x.chunks(piece).for_each(|x| quantizer.push(x).unwrap());
            assert_eq!(quantizer.finish(double).unwrap(), whole, "pieces of {piece}");
        }
        assert_eq!(whole.dequantize_rows(2..4), whole.dequantize()[2 * 131..4 * 131]);
        assert!(whole.dequantize_rows(9..12).is_empty());
    }
}

#[test]
fn many_tasks_give_the_same_bytes_as_one_block_at_a_time() {
    let x: Vec<f32> = (0..64 * 3000 + 5).map(|i| ((i * 7919) as f32).sin()).collect();
    let (packed, absmax) = quantize(&x);
    for (block, part) in x.chunks(64).enumerate() {
        let (one, scale) = quantize(part);
        assert_eq!(packed[block * 32..][..one.len()], one);
        assert_eq!(absmax[block].to_bits(), scale[0].to_bits());
    }
}

const EXPECTED: [u8; 5] = [0, 35, 131, 219, 255];

#[test]
fn nearest_code_is_nearest_to_the_closest_of_65536_points() {
    let code = dynamic8_code(true);
    for k in -2000..=2000 {
        let x = k as f32 / 2000.0;
        let distance = (code[usize::from(nearest_code(&code, x))] - x).abs();
        let best = code.iter().map(|c| (c - x).abs()).fold(f32::MAX, f32::min);
        assert!(distance <= best + 2.0 / 65535.0, "{x}: {distance} is not {best}");
    }
    // bitsandbytes' CPU kernel gives these; an exact search gives 127 for 0.
    assert_eq!([-1.0, -0.5, 0.0, 0.5, 1.0].map(|x| nearest_code(&code, x)), EXPECTED);
    assert_eq!(nearest_code(&code, f32::NAN), 0);
    assert_eq!(nearest_code(&code[..10], 0.5), 0);
}

#[test]
fn mean_follows_its_order_and_stays_close() {
    assert_eq!(mean_like_torch(&[]), 0.0);
    assert_eq!(mean_like_torch(&[1.0, 2.0, 6.0]), 3.0);
    // Recorded from torch 2.15; the sum from left to right ends in another bit.
    let six = [2.540_933, 2.859_875_7, 2.638_464_7, 2.664_949_2, 2.246_570_8, 0.999_836_86];
    assert_eq!(mean_like_torch(&six), 2.325_105_2);
    // More than 16³ rounds, so that every level is used.
    let x: Vec<f32> = (0..32 * 5000 + 21).map(|i| 0.1 + (i % 997) as f32 * 1e-4).collect();
    let exact = x.iter().map(|v| f64::from(*v)).sum::<f64>() / x.len() as f64;
    assert!((f64::from(mean_like_torch(&x)) / exact - 1.0).abs() < 2e-7);
}

#[test]
fn bad_input_is_refused() {
    assert_error(Nf4Matrix::quantize(2, 3, &[0.0; 5], true), is_shape, &["6 values", "5 values"]);
    assert_error(Nf4Matrix::quantize(2, 3, &[0.0; 7], true), is_shape, &["6 values", "7 values"]);
    let x = [0.0, 1.0, 2.0, 3.0, f32::NAN, 5.0];
    assert_error(Nf4Matrix::quantize(2, 3, &x, false), is_invalid, &["[1, 1]", "NaN"]);
    assert_error(Nf4Quantizer::new(usize::MAX, 2), is_invalid, &["too large"]);
    assert_eq!(Nf4Matrix::quantize(0, 3, &[], true).unwrap().dequantize(), [0.0; 0]);
}
