/// `a = x[j], b = x[j + E/2]` of each head become `a·cos − b·sin, b·cos + a·sin`; `inverse` negates
/// the sine. `x (N, H·E)`, `cos, sin (P, E/2)`, `positions (N)`; positions from `P` on count as
/// `P − 1`.
pub fn rope(
    x: &mut [f32],
    cos: &[f32],
    sin: &[f32],
    positions: &[u32],
    heads: usize,
    inverse: bool,
) {
    let half = x.len() / (positions.len() * heads * 2);
    let last = cos.len() / half - 1;
    for (n, &position) in positions.iter().enumerate() {
        let table = (position as usize).min(last) * half;
        for head in 0..heads {
            let (first, second) = x[(n * heads + head) * 2 * half..][..2 * half].split_at_mut(half);
            for j in 0..half {
                let (c, s) = (f64::from(cos[table + j]), f64::from(sin[table + j]));
                let s = if inverse { -s } else { s };
                let (a, b) = (f64::from(first[j]), f64::from(second[j]));
                first[j] = (a * c - b * s) as f32;
                second[j] = (b * c + a * s) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::{gradient, noise};

    #[test]
    fn the_inverse_is_the_derivative_and_undoes_the_rotation() {
        let (n, heads, half, positions) = (3, 2, 4, [0, 5, 2]);
        let angles: Vec<f32> = noise(6 * half, 1).iter().map(|a| 3.0 * a).collect();
        let cos: Vec<f32> = angles.iter().map(|a| a.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|a| a.sin()).collect();
        let turn = |x: &[f32], inverse| {
            let mut x = x.to_vec();
            rope(&mut x, &cos, &sin, &positions, heads, inverse);
            x
        };
        let size = n * heads * half * 2;
        let (x, dy) = (noise(size, 2), noise(size, 3));
        gradient(&x, &dy, |x| turn(x, false), &turn(&dy, true));
        for (back, x) in turn(&turn(&x, false), true).iter().zip(&x) {
            assert!((back - x).abs() < 1e-6);
        }
    }
}
