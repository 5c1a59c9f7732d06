// linear_fwd_64x64: what the bodies that make 64 × 64 outputs of linear_fwd read and write.
// uses: tile_64x64

// Where an invocation's part of the tiles comes from: a row of x, its first vec4, and a row of w.
// Rows past the end repeat the last one; only the stores are guarded.
struct Rows { down: u32, x: u32, w: u32 }

fn rows_of(group: vec3u, part: Part) -> Rows {
    let row = min(group.y * 64u + part.row, p.m - 1u);
    return Rows(row, row * 2u * (p.k / 8u), min(group.x * 64u + part.row, p.n - 1u));
}

// Eight k of a row of x, and of a row of w as it is stored.
struct Loaded { low: vec4f, high: vec4f, w: Rows8 }

fn load(rows: Rows, i: u32) -> Loaded {
    return Loaded(x[rows.x + 2u * i], x[rows.x + 2u * i + 1u], rows8_load(rows.w, i));
}

fn store(group: vec3u, own: Own, sums: ptr<function, array<vec4f, 8>>) {
    let n4 = p.n / 4u;
    let row = group.y * 64u + own.y;
    let column = group.x * 16u + own.x;
    if p.accumulate == 1u {
        // No row waits for another one's load; those past the end are not stored.
        for (var i = 0u; i < 8u; i++) {
            let r = min(row + 8u * i, p.m - 1u);
            (*sums)[i] += y[(r * p.stride + p.first) / 4u + min(column, n4 - 1u)];
        }
    }
    for (var i = 0u; i < 8u; i++) {
        let r = row + 8u * i;
        if r < p.m && column < n4 { y[(r * p.stride + p.first) / 4u + column] = (*sums)[i]; }
    }
}
