// rows_nf4_quads: eight consecutive weights, 8i to 8i+7 of `row`; `w: array<vec4u>` and the scales
// as in weight_nf4_quads.
// uses: eights_nf4

struct Rows8 { codes: u32, scales: u32, shift: u32, nested: f32 }

fn rows8_begin(lane: u32) {
    nf4_begin(lane);
}

fn rows8_load(row: u32, i: u32) -> Rows8 {
    let codes = w[row / 4u * (p.k / 8u) + i][row % 4u];
    let byte = i / 8u * p.n + row;
    let block = row * (p.k / 64u) + i / 8u;
    return Rows8(codes, scales[byte / 4u], 8u * (byte % 4u), nested[block / 256u]);
}

fn rows8_decode(words: Rows8) -> mat2x4f {
    let scale = nf4_scale((words.scales >> words.shift) & 255u) * words.nested + p.offset;
    return nf4_eight(words.codes, scale);
}

fn rows8(row: u32, i: u32) -> mat2x4f {
    return rows8_decode(rows8_load(row, i));
}

// Four rows of eight weights: components are rows, columns elements 8i to 8i+3 and 8i+4 to 8i+7.
struct Rows32 { low: mat4x4f, high: mat4x4f }

// Not yet scaled.
fn rows32(quad: u32, i: u32) -> Rows32 {
    let word = w[quad * (p.k / 8u) + i];
    return Rows32(nf4_fours(word), nf4_fours(word >> vec4u(16u)));
}

fn nf4_fours(word: vec4u) -> mat4x4f {
    return mat4x4f(
        nf4_values(word & vec4u(15u)),
        nf4_values((word >> vec4u(4u)) & vec4u(15u)),
        nf4_values((word >> vec4u(8u)) & vec4u(15u)),
        nf4_values((word >> vec4u(12u)) & vec4u(15u)),
    );
}

// The scales of the rows in a block of 64 elements.
fn rows32_scale(quad: u32, block: u32) -> vec4f {
    let c = (vec4u(scales[block * (p.n / 4u) + quad]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
    let flat = ((4u * quad + vec4u(0u, 1u, 2u, 3u)) * (p.k / 64u) + block) / 256u;
    return vec4f(nf4_scale(c.x), nf4_scale(c.y), nf4_scale(c.z), nf4_scale(c.w))
        * vec4f(nested[flat.x], nested[flat.y], nested[flat.z], nested[flat.w]) + p.offset;
}
