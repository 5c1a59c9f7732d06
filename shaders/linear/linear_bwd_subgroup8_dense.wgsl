// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k], w dense.
// roles: rows   uses: linear_bwd_lanes8
// dispatch: (K/64, M/32)   writes: dx = or +=   source: derivative of linear_fwd by its input
// A subgroup of 8 lanes makes 32 rows × 64 columns, a lane 32 × 8: a load of dy is spread over the
// lanes by shuffles.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       dy:     array<vec4f>;      // (M, stride)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // none
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // none
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // none
@group(0) @binding(6) var<storage, read_write> dx:     array<vec4f>;      // (M, K)

const TM = 32u;  // rows of an invocation

@compute @workgroup_size(8)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k8 = p.k / 8u;
    let n4 = p.n / 4u;
    let row = group.y * TM;
    let column = group.x * 8u + lane;
    let w_at = min(column, k8 - 1u);

    var dy_at = dy_places(row, lane);
    var acc: Sums;
    for (var quad = 0u; quad < n4; quad += 2u) {
        // An odd number of quads: the second one repeats the first, times 0.
        let is_in = select(0.0, 1.0, quad + 1u < n4);
        let second = min(quad + 1u, n4 - 1u);
        var tile: array<array<mat4x4f, 2>, 2>;  // [four rows of W][four of the lane's eight columns]
        for (var h = 0u; h < 2u; h++) {
            let n = 4u * select(quad, second, h == 1u);
            let r0 = rows8(n, w_at);
            let r1 = rows8(n + 1u, w_at);
            let r2 = rows8(n + 2u, w_at);
            let r3 = rows8(n + 3u, w_at);
            for (var c = 0u; c < 2u; c++) { tile[h][c] = mat4x4f(r0[c], r1[c], r2[c], r3[c]); }
        }
        for (var g = 0u; g < LOADS; g++) {
            let v = dy[dy_at[g] + select(quad, second, (lane & 1u) == 1u)];
            for (var i = 0u; i < 4u; i++) {
                let a = subgroupShuffle(v, 2u * i);
                let b = subgroupShuffle(v, 2u * i + 1u) * is_in;
                for (var c = 0u; c < 2u; c++) {
                    acc[g][i][c] += tile[0][c] * a + tile[1][c] * b;
                }
            }
        }
    }

    store(row, column, &acc);
}
