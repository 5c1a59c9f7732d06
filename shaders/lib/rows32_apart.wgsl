// rows32_apart: four rows of eight weights where each row is stored by itself.

// Components are rows, columns elements 8i to 8i+3 and 8i+4 to 8i+7.
struct Rows32 { low: mat4x4f, high: mat4x4f }

fn rows32(quad: u32, i: u32) -> Rows32 {
    let r0 = rows8(4u * quad, i);
    let r1 = rows8(4u * quad + 1u, i);
    let r2 = rows8(4u * quad + 2u, i);
    let r3 = rows8(4u * quad + 3u, i);
    return Rows32(
        transpose(mat4x4f(r0[0], r1[0], r2[0], r3[0])), transpose(mat4x4f(r0[1], r1[1], r2[1], r3[1])),
    );
}

// They have their scales.
fn rows32_scale(quad: u32, block: u32) -> vec4f {
    return vec4f(1.0);
}
