// rows_nf4_single: eight consecutive weights, 8i to 8i+7 of `row`; `w: array<vec4u>` and the scales
// as in weight_nf4_single.
// uses: eights_nf4, rows32_apart

struct Rows8 { codes: u32, scale: u32 }

fn rows8_begin(lane: u32) {
    nf4_begin(lane);
}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    let at = row * (p.k / 8u) + i;
    return Rows8(w[at / 4u][at % 4u], scales[at / 8u]);
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    return nf4_eight(nf4_swapped(words.codes), bitcast<f32>(words.scale));
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}
