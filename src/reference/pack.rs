use half::f16;

/// `y[i] = (f16(x[2i]), f16(x[2i + 1]))`, the first in the low half; beyond f16's range its largest
/// value. How many were beyond.
pub fn pack_f16(x: &[f32], y: &mut [u32]) -> u32 {
    let half = |v: f32| u32::from(f16::from_f32(v.clamp(-65504.0, 65504.0)).to_bits());
    for (y, pair) in y.iter_mut().zip(x.chunks(2)) {
        *y = half(pair[0]) | half(pair.get(1).copied().unwrap_or(0.0)) << 16;
    }
    x.iter().filter(|v| v.abs() > 65504.0).count() as u32
}

/// `y[2i], y[2i + 1]` from the halves of `x[i]`.
pub fn unpack_f16(x: &[u32], y: &mut [f32]) {
    for (pair, x) in y.chunks_mut(2).zip(x) {
        for (y, bits) in pair.iter_mut().zip([*x as u16, (*x >> 16) as u16]) {
            *y = f16::from_bits(bits).to_f32();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_keeps_eleven_bits() {
        let x = [1.0, -0.333_333_34, 1e6, 6.1e-5, 0.0];
        let mut words = [0; 3];
        assert_eq!(pack_f16(&x, &mut words), 1);
        let mut y = [f32::NAN; 5];
        unpack_f16(&words, &mut y);
        assert_eq!(y, [1.0, -0.333_251_95, 65504.0, 6.097_555e-5, 0.0]);
    }
}
