/// `y[b · stride + first + t] = x[b · rows + t]` for rows of `width`; `x (B·rows, C)`,
/// `y (B·stride, C)`.
pub fn copy_rows(x: &[f32], width: usize, rows: usize, stride: usize, first: usize, y: &mut [f32]) {
    for (x, y) in x.chunks(rows * width).zip(y.chunks_mut(stride * width)) {
        y[first * width..][..rows * width].copy_from_slice(x);
    }
}
