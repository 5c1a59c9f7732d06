// linear_bwd_64x64: what the bodies that make 64 × 64 outputs of linear_bwd read and write.
// uses: tile_64x64

// Where an invocation's part of the tiles comes from: the first vec4 of a row of dy; eight k, the
// number `eight` of eight and `w` of all, of every 16th row of w. Rows and columns past the end
// repeat the last ones; only the stores are guarded.
struct Rows { dy: u32, w_row: u32, eight: u32, w: u32 }

fn rows_of(group: vec3u, local: u32) -> Rows {
    let row = min(group.y * 64u + part_of(local).row, p.m - 1u);
    let eight = local / 4u % 8u;
    return Rows(
        (row * p.stride + p.first) / 4u, local / 32u * 4u + local % 4u,
        eight, min(group.x * 8u + eight, p.k / 8u - 1u),
    );
}

// Eight n from n on of a row of dy, and eight k of a row of w as it is stored.
struct Loaded { low: vec4f, high: vec4f, w: Rows8 }

fn load(rows: Rows, n: u32, w_row: u32) -> Loaded {
    let four = min(n / 4u, p.n / 4u - 1u);
    let next = min(n / 4u + 1u, p.n / 4u - 1u);
    return Loaded(
        dy[rows.dy + four], dy[rows.dy + next], rows8_load(min(w_row, p.n - 1u), rows.w),
    );
}

fn store(group: vec3u, own: Own, sums: ptr<function, array<vec4f, 8>>) {
    let k4 = p.k / 4u;
    let row = group.y * 64u + own.y;
    let column = group.x * 16u + own.x;
    for (var i = 0u; i < 8u; i++) { (*sums)[i] *= p.scale; }
    if p.accumulate == 1u {
        // No row waits for another one's load; those past the end are not stored.
        for (var i = 0u; i < 8u; i++) {
            (*sums)[i] += dx[min(row + 8u * i, p.m - 1u) * k4 + min(column, k4 - 1u)];
        }
    }
    for (var i = 0u; i < 8u; i++) {
        let r = row + 8u * i;
        if r < p.m && column < k4 { dx[r * k4 + column] = (*sums)[i]; }
    }
}
