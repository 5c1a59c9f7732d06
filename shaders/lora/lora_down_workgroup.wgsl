// lora_down: low = (mask ⊙ x)·Aᵀ.
// roles: mask
// dispatch: (R/16, M/16)   writes: low =   source: Hu et al. 2021, eq. 3
// A workgroup: 16 rows × 16 ranks source tiles of 64 k in 8 KiB of shared memory, an invocation one
// row × four ranks: few outputs, so that every GPU has enough workgroups.

struct Params { m: u32, k: u32, rank: u32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:   Params;
@group(0) @binding(1) var<storage, read>       x:   array<vec4f>;  // (M, K)
@group(0) @binding(2) var<storage, read>       a:   array<vec4f>;  // (R, K)
@group(0) @binding(3) var<storage, read_write> low: array<vec4f>;  // (M, R)

var<workgroup> x_tile: array<vec4f, 256>;  // (16 quads of k, 16 rows)
var<workgroup> a_tile: array<vec4f, 256>;  // (16 quads of k, 16 ranks)

@compute @workgroup_size(64)
fn lora_down(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let k4 = p.k / 4u;
    let row = local / 4u;
    let quad = local % 4u;

    var acc: vec4f;
    for (var k = 0u; k < k4; k += 16u) {
        // Neighbours load neighbouring k. Past the last k x is 0; rows and ranks past the end
        // repeat the last one, and only the stores are guarded.
        for (var h = 0u; h < 4u; h++) {
            let line = local / 16u + 4u * h;
            let at = min(k + local % 16u, k4 - 1u);
            let source = min(group.y * 16u + line, p.m - 1u) * k4 + at;
            let v = x[source] * mask4(4u * source);
            x_tile[16u * (local % 16u) + line] = select(vec4f(), v, k + local % 16u < k4);
            a_tile[16u * (local % 16u) + line] = a[min(group.x * 16u + line, p.rank - 1u) * k4 + at];
        }
        workgroupBarrier();
        for (var q = 0u; q < 256u; q += 16u) {
            let i = q + 4u * quad;
            acc += x_tile[q + row] * mat4x4f(a_tile[i], a_tile[i + 1u], a_tile[i + 2u], a_tile[i + 3u]);
        }
        workgroupBarrier();
    }

    let r = group.y * 16u + row;
    let rank = group.x * 4u + quad;
    if r < p.m && 4u * rank < p.rank { low[r * (p.rank / 4u) + rank] = acc; }
}
