// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k], w in NF4 quads.
// roles: none   uses: linear_bwd_lanes8, nf4_lanes8, eights_nf4
// dispatch: (K/64, M/16)   writes: dx = or +=   source: derivative of linear_fwd by its input
// A subgroup of 8 lanes makes 16 rows × 64 columns, a lane 16 × 8: the columns are one block of
// each row of W, so one scale.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       dy:     array<vec4f>;      // (M, stride)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N/4, K/8): 8 codes of 4 rows
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // (K/64, N/4): codes of 4 rows
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> dx:     array<vec4f>;      // (M, K)

const TM = 16u;  // rows of an invocation

@compute @workgroup_size(8)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    nf4_begin(lane);
    let n4 = p.n / 4u;
    let k8 = p.k / 8u;
    let row = group.y * TM;
    let block = group.x;

    var dy_at = dy_places(row, lane);
    var acc: Sums;
    for (var quad = 0u; quad < n4; quad += 2u) {
        // Each lane restores the scale of one of the eight rows of W; rows past the end get 0.
        let n = 4u * quad + lane;
        let q = min(n / 4u, n4 - 1u);
        let code = (scales[block * n4 + q] >> (8u * (n & 3u))) & 255u;
        let flat_block = (4u * q + (n & 3u)) * (p.k / 64u) + block;
        let s = nf4_scale(code) * nested[flat_block / 256u] + p.offset;
        let absmax = select(0.0, s, n < p.n);

        var tile: array<array<mat4x4f, 2>, 2>;  // [four rows of W][four of the lane's eight columns]
        for (var h = 0u; h < 2u; h++) {
            let word = w[min(quad + h, n4 - 1u) * k8 + 8u * block + lane];
            let r0 = nf4_eight(word.x, subgroupShuffle(absmax, 4u * h));
            let r1 = nf4_eight(word.y, subgroupShuffle(absmax, 4u * h + 1u));
            let r2 = nf4_eight(word.z, subgroupShuffle(absmax, 4u * h + 2u));
            let r3 = nf4_eight(word.w, subgroupShuffle(absmax, 4u * h + 3u));
            for (var c = 0u; c < 2u; c++) { tile[h][c] = mat4x4f(r0[c], r1[c], r2[c], r3[c]); }
        }
        for (var g = 0u; g < LOADS; g++) {
            let v = dy[dy_at[g] + min(quad + (lane & 1u), n4 - 1u)];
            for (var i = 0u; i < 4u; i++) {
                let a = subgroupShuffle(v, 2u * i);
                let b = subgroupShuffle(v, 2u * i + 1u);
                for (var c = 0u; c < 2u; c++) {
                    acc[g][i][c] += tile[0][c] * a + tile[1][c] * b;
                }
            }
        }
    }

    store(row, 8u * block + lane, &acc);
}
