// linear_grad: dw += scale · dyᵀ·(mask ⊙ x). A workgroup makes 64 × 64 outputs from tiles of
// roles: mask
// dispatch: (K/64, N/64)   writes: dw +=   source: derivative of linear_fwd by its weight
// 32 m in 16 KiB of shared memory, an invocation 4 × 4.

struct Params { m: u32, n: u32, k: u32, scale: f32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       x:  array<vec4f>;  // (M, K)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;  // (N, K)

var<workgroup> dy_tile: array<vec4f, 512>;  // (32, 16): four n of a row of dy
var<workgroup> x_tile: array<vec4f, 512>;   // (32, 16): four k of a row of x

@compute @workgroup_size(256)
fn linear_grad(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let n4 = p.n / 4u;
    let k4 = p.k / 4u;
    let tx = local % 16u;
    let ty = local / 16u;
    // Columns past the end repeat the last ones; only the stores are guarded.
    let dy_at = min(group.y * 16u + tx, n4 - 1u);
    let x_at = min(group.x * 16u + tx, k4 - 1u);

    var acc: array<vec4f, 4>;
    for (var m = 0u; m < p.m; m += 32u) {
        for (var h = 0u; h < 2u; h++) {
            // Past the end dy is 0, and the last row of x is repeated.
            let r = m + ty + 16u * h;
            let last = min(r, p.m - 1u);
            dy_tile[local + 256u * h] = select(vec4f(), dy[last * n4 + dy_at], r < p.m);
            x_tile[local + 256u * h] = x[last * k4 + x_at] * mask4(4u * (last * k4 + x_at));
        }
        workgroupBarrier();
        for (var r = 0u; r < 512u; r += 16u) {
            let d = dy_tile[r + ty];
            let v = x_tile[r + tx];
            for (var i = 0u; i < 4u; i++) { acc[i] += d[i] * v; }
        }
        workgroupBarrier();
    }

    let column = group.x * 16u + tx;
    for (var i = 0u; i < 4u; i++) {
        let r = group.y * 64u + 4u * ty + i;
        if r < p.n && column < k4 { dw[r * k4 + column] += p.scale * acc[i]; }
    }
}
