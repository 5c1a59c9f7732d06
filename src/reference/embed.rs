/// `y[n] = w[ids[n] − first_row]` where that is one of the `rows` of this shard, else unchanged;
/// `w(i)` is element `i` of the row-major shard, `y (N, D)`.
pub fn embed_fwd(
    ids: &[u32],
    w: impl Fn(usize) -> f32,
    first_row: usize,
    rows: usize,
    d: usize,
    y: &mut [f32],
) {
    for (n, &id) in ids.iter().enumerate() {
        let id = id as usize;
        if (first_row..first_row + rows).contains(&id) {
            for j in 0..d {
                y[n * d + j] = w((id - first_row) * d + j);
            }
        }
    }
}
