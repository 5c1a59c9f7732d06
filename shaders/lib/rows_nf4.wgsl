// rows_nf4: eight consecutive weights, 8i to 8i+7 of `row`; `w: array<vec4u>` and the scales as in
// weight_nf4.
// uses: eights_nf4, rows32_apart

struct Rows8 { codes: u32, scales: u32, shift: u32, nested: f32 }

fn rows8_begin(lane: u32) {
    nf4_begin(lane);
}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    let at = row * (p.k / 8u) + i;
    let block = at / 8u;
    return Rows8(w[at / 4u][at % 4u], scales[block / 4u], 8u * (block % 4u), nested[block / 256u]);
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    let scale = nf4_scale((words.scales >> words.shift) & 255u) * words.nested + p.offset;
    return nf4_eight(nf4_swapped(words.codes), scale);
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}
