// linear_grad: dw += scale · dyᵀ·(mask ⊙ x).
// roles: mask
// dispatch: (K/32, N/16)   writes: dw +=   source: derivative of linear_fwd by its weight
// A subgroup of 8 lanes makes 16 rows × 32 columns, a lane 16 × 4: a load of dy is spread over the
// lanes by shuffles.

struct Params { m: u32, n: u32, k: u32, scale: f32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       x:  array<vec4f>;  // (M, K)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;  // (N, K)

const LANES = 4u;  // lanes that hold one m of dy, four n each; a load brings two m

fn masked(m: u32, c: u32) -> vec4f {
    let i = m * (p.k / 4u) + c;
    return x[i] * mask4(4u * i);
}

@compute @workgroup_size(8)
fn linear_grad(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n4 = p.n / 4u;
    let k4 = p.k / 4u;
    let row = group.y * 4u * LANES;
    let column = group.x * 8u + lane;
    let last = p.m - 1u;

    // Rows and columns past the end repeat the last one; only the stores are guarded. Terms past
    // the last m are multiplied by 0.
    let c = min(column, k4 - 1u);
    let dy_at = min(row / 4u + lane % LANES, n4 - 1u);

    var acc: array<array<vec4f, 4>, LANES>;
    for (var m = 0u; m < p.m; m += 4u) {
        var v: array<vec4f, 2>;
        for (var j = 0u; j < 2u; j++) {
            v[j] = dy[min(m + 2u * j + lane / LANES, last) * n4 + dy_at];
        }
        let t = mat4x4f(
            masked(m, c),
            masked(min(m + 1u, last), c) * select(0.0, 1.0, m + 1u < p.m),
            masked(min(m + 2u, last), c) * select(0.0, 1.0, m + 2u < p.m),
            masked(min(m + 3u, last), c) * select(0.0, 1.0, m + 3u < p.m),
        );
        for (var i = 0u; i < LANES; i++) {
            // Four n at four successive m.
            let a = transpose(mat4x4f(
                subgroupShuffle(v[0], i),
                subgroupShuffle(v[0], LANES + i),
                subgroupShuffle(v[1], i),
                subgroupShuffle(v[1], LANES + i),
            ));
            for (var j = 0u; j < 4u; j++) { acc[i][j] += t * a[j]; }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var r = row; r < min(row + 4u * LANES, p.n); r += 4u) {
        for (var j = 0u; j < 4u; j++) {
            if column < k4 { dw[(r + j) * k4 + column] += p.scale * acc[0][j]; }
        }
        for (var i = 1u; i < LANES; i++) { acc[i - 1u] = acc[i]; }
    }
}
