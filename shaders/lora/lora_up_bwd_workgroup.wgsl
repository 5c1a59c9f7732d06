// lora_up_bwd: dlow = scale · dy·B.
// roles: none
// dispatch: (R/16, M/16)   writes: dlow =   source: derivative of LoRA's branch by x·Aᵀ
// A workgroup makes 16 rows × 16 ranks source tiles of 64 n in 8 KiB of shared memory, an
// invocation one row × four ranks: few outputs, so that every GPU has enough workgroups.

struct Params { m: u32, n: u32, rank: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       dy:   array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       b:    array<vec4f>;  // (N, R)
@group(0) @binding(3) var<storage, read_write> dlow: array<vec4f>;  // (M, R)

var<workgroup> dy_tile: array<vec4f, 256>;  // (16 quads of n, 16 rows)
var<workgroup> b_tile: array<vec4f, 256>;   // (64 n, 4 quads of ranks)

@compute @workgroup_size(64)
fn lora_up_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let n4 = p.n / 4u;
    let r4 = p.rank / 4u;
    let row = local / 4u;
    let quad = local % 4u;
    let b_at = min(group.x * 4u + quad, r4 - 1u);

    var acc: vec4f;
    for (var n = 0u; n < n4; n += 16u) {
        // Neighbours load neighbouring n. Past the last n dy is 0; rows and ranks past the end
        // repeat the last one, and only the stores are guarded.
        for (var h = 0u; h < 4u; h++) {
            let line = local / 16u + 4u * h;
            let source = min(group.y * 16u + line, p.m - 1u) * n4 + min(n + local % 16u, n4 - 1u);
            dy_tile[16u * (local % 16u) + line] = select(vec4f(), dy[source], n + local % 16u < n4);
            b_tile[local + 64u * h] = b[min(4u * n + row + 16u * h, p.n - 1u) * r4 + b_at];
        }
        workgroupBarrier();
        for (var q = 0u; q < 256u; q += 16u) {
            let i = q + quad;
            acc += mat4x4f(b_tile[i], b_tile[i + 4u], b_tile[i + 8u], b_tile[i + 12u]) * dy_tile[q + row];
        }
        workgroupBarrier();
    }

    let r = group.y * 16u + row;
    let rank = group.x * 4u + quad;
    if r < p.m && rank < r4 { dlow[r * r4 + rank] = p.scale * acc; }
}
