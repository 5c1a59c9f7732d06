/// `y += x`.
pub fn add(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// `y[n] += bias` for each row of `y (N, D)`.
pub fn add_bias(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        add(bias, row);
    }
}

/// `y[l] = x[index[l]]`, or zeros where that is no row of `x (N, D)`.
pub fn gather_rows(x: &[f32], index: &[u32], d: usize, y: &mut [f32]) {
    let n = x.len() / d;
    for (y, &row) in y.chunks_exact_mut(d).zip(index) {
        match row as usize {
            row if row < n => y.copy_from_slice(&x[row * d..][..d]),
            _ => y.fill(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::check::noise;

    #[test]
    fn the_inverse_index_scatters() {
        const NONE: u32 = u32::MAX;
        let x = noise(5 * 3, 1);
        let (mut some, mut back) = (vec![0.0; 2 * 3], vec![1.0; 5 * 3]);
        gather_rows(&x, &[4, 1], 3, &mut some);
        gather_rows(&some, &[NONE, 1, NONE, NONE, 0], 3, &mut back);
        for row in 0..5 {
            let kept = row == 1 || row == 4;
            let expected = if kept { &x[row * 3..][..3] } else { &[0.0; 3] };
            assert_eq!(&back[row * 3..][..3], expected);
        }
    }
}
