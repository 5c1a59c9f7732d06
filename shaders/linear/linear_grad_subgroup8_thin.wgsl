// linear_grad: dw += scale · dyᵀ·(mask ⊙ x), x of few columns.
// roles: mask
// dispatch: (K/16, N/32)   writes: dw +=   source: derivative of linear_fwd by its weight
// A subgroup of 8 lanes makes 32 rows × 16 columns, a lane 4 × 16: a load of x is spread over the
// lanes by shuffles.

struct Params { m: u32, n: u32, k: u32, scale: f32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       x:  array<vec4f>;  // (M, K)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;  // (N, K)

const LANES = 4u;  // lanes that hold one m of x, four k each; a load brings two m

@compute @workgroup_size(8)
fn linear_grad(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n4 = p.n / 4u;
    let k4 = p.k / 4u;
    let row = group.y * 8u + lane;
    let column = group.x * LANES;
    let last = p.m - 1u;

    // Rows and columns past the end repeat the last one; only the stores are guarded. Terms past
    // the last m are multiplied by 0.
    let dy_at = min(row, n4 - 1u);
    let x_at = min(column + lane % LANES, k4 - 1u);

    var acc: array<array<vec4f, 4>, LANES>;  // [quad of k][k]: four n
    for (var m = 0u; m < p.m; m += 4u) {
        var v: array<vec4f, 2>;
        for (var j = 0u; j < 2u; j++) {
            let i = min(m + 2u * j + lane / LANES, last) * k4 + x_at;
            v[j] = x[i] * mask4(4u * i);
        }
        let t = mat4x4f(
            dy[m * n4 + dy_at],
            dy[min(m + 1u, last) * n4 + dy_at] * select(0.0, 1.0, m + 1u < p.m),
            dy[min(m + 2u, last) * n4 + dy_at] * select(0.0, 1.0, m + 2u < p.m),
            dy[min(m + 3u, last) * n4 + dy_at] * select(0.0, 1.0, m + 3u < p.m),
        );
        for (var i = 0u; i < LANES; i++) {
            // Four k at four successive m.
            let b = transpose(mat4x4f(
                subgroupShuffle(v[0], i),
                subgroupShuffle(v[0], LANES + i),
                subgroupShuffle(v[1], i),
                subgroupShuffle(v[1], LANES + i),
            ));
            for (var j = 0u; j < 4u; j++) { acc[i][j] += t * b[j]; }
        }
    }

    // Four columns a turn, then the next four move up: a load or store is slow to compile.
    for (var k = column; k < min(column + LANES, k4); k++) {
        let rows = transpose(mat4x4f(acc[0][0], acc[0][1], acc[0][2], acc[0][3]));
        for (var j = 0u; j < 4u; j++) {
            if row < n4 { dw[(4u * row + j) * k4 + k] += p.scale * rows[j]; }
        }
        for (var i = 1u; i < LANES; i++) { acc[i - 1u] = acc[i]; }
    }
}
