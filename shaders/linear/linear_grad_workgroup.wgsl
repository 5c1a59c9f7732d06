// linear_grad: dw += scale · dyᵀ·(mask ⊙ x).
// roles: mask
// dispatch: (K/64, N/64)   writes: dw +=   source: derivative of linear_fwd by its weight
// A workgroup makes 64 × 64 outputs from tiles of 16 m in 8 KiB of shared memory, an invocation
// 8 × 4. The next tile is on its way from memory while one is multiplied, as in
// linear_fwd_workgroup.

struct Params { m: u32, n: u32, k: u32, scale: f32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       x:  array<vec4f>;  // (M, K)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;  // (N, K)

var<workgroup> dy_tile: array<vec4f, 256>;  // (16, 16): four n of a row of dy
var<workgroup> x_tile: array<vec4f, 256>;   // (16, 16): four k of a row of x

// What an invocation loads for a tile: four columns of dy and of x in each of two rows.
struct Loaded { dy: array<vec4f, 2>, x: array<vec4f, 2> }

fn load(m: u32, dy_at: u32, x_at: u32) -> Loaded {
    let a = min(m, p.m - 1u);
    let b = min(m + 8u, p.m - 1u);
    let n4 = p.n / 4u;
    let k4 = p.k / 4u;
    return Loaded(
        array(dy[a * n4 + dy_at], dy[b * n4 + dy_at]), array(x[a * k4 + x_at], x[b * k4 + x_at]),
    );
}

@compute @workgroup_size(128)
fn linear_grad(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let n4 = p.n / 4u;
    let k4 = p.k / 4u;
    // Squares of 2 × 2 outputs lie in four neighbouring invocations, so that any eight of them read
    // at most four words of a tile.
    let tx = local % 2u + local / 4u % 8u * 2u;
    let ty = local / 2u % 2u + local / 32u * 2u;

    // The invocation's part of the tiles: every 8th row. Columns past the end repeat the last ones;
    // only the stores are guarded.
    let row = local / 16u;
    let dy_at = min(group.y * 16u + local % 16u, n4 - 1u);
    let x_at = min(group.x * 16u + local % 16u, k4 - 1u);

    var next = load(row, dy_at, x_at);
    var acc: array<vec4f, 8>;
    for (var m = 0u; m < p.m; m += 16u) {
        for (var h = 0u; h < 2u; h++) {
            // Past the end dy is 0, and the last row of x is repeated.
            let r = m + row + 8u * h;
            let mask = mask4(4u * (min(r, p.m - 1u) * k4 + x_at));
            dy_tile[local + 128u * h] = select(vec4f(), next.dy[h], r < p.m);
            x_tile[local + 128u * h] = next.x[h] * mask;
        }
        workgroupBarrier();
        next = load(m + 16u + row, dy_at, x_at);
        for (var r = 0u; r < 256u; r += 16u) {
            let v = x_tile[r + tx];
            for (var h = 0u; h < 2u; h++) {
                let d = dy_tile[r + ty + 8u * h];
                for (var i = 0u; i < 4u; i++) { acc[4u * h + i] = fma(vec4f(d[i]), v, acc[4u * h + i]); }
            }
        }
        workgroupBarrier();
    }

    let column = group.x * 16u + tx;
    for (var i = 0u; i < 8u; i++) {
        let r = group.y * 64u + 4u * (ty + i / 4u * 8u) + i % 4u;
        if r < p.n && column < k4 { dw[r * k4 + column] += p.scale * acc[i]; }
    }
}
