// row_lanes8: a row of a head in a lane's registers, and the keys or values that the lanes of a
// subgroup of 8 load for all of them.

const BLOCKS: u32 = HEAD / 32u;

// One row of a head: blocks of eight quads, as the lanes load them.
alias Row = array<array<vec4f, 8>, BLOCKS>;

// Two quads up, for loops over p.e, which are not unrolled: a load or store is slow to compile.
fn up(row: Row) -> Row {
    var moved = row;
    for (var j = 0u; j < BLOCKS; j++) {
        for (var c = 0u; c < 6u; c++) { moved[j][c] = row[j][c + 2u]; }
    }
    for (var j = 1u; j < BLOCKS; j++) {
        moved[j - 1u][6] = row[j][0];
        moved[j - 1u][7] = row[j][1];
    }
    return moved;
}

// Quad `c` of what the lanes have loaded of four rows, in every lane.
fn quads(x: mat4x4f, c: u32) -> mat4x4f {
    return mat4x4f(
        subgroupShuffle(x[0], c), subgroupShuffle(x[1], c),
        subgroupShuffle(x[2], c), subgroupShuffle(x[3], c),
    );
}

fn add_dot(sum: f32, a: vec4f, b: vec4f) -> f32 {
    return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, fma(a.w, b.w, sum))));
}

fn add_dots(sum: vec4f, a: vec4f, b: mat4x4f) -> vec4f {
    return vec4f(
        add_dot(sum.x, a, b[0]), add_dot(sum.y, a, b[1]),
        add_dot(sum.z, a, b[2]), add_dot(sum.w, a, b[3]),
    );
}
