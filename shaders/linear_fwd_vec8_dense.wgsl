// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] for few m, w dense. A subgroup of 8 lanes
// roles: rows
// dispatch: (N/8 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// makes one row × 8 columns: a load of x is spread over the lanes by shuffles. It touches cache lines of the
// next workgroup's weights (of 16 bits) as it goes: memory fetches eight at once, not one after the other.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // none
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // none
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // none
@group(0) @binding(6) var<storage, read_write> y:      array<f32>;        // (M, stride)

@compute @workgroup_size(8)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k8 = p.k / 8u;
    let row = group.z;
    let column = (group.y * groups.x + group.x) * 8u + lane;
    let n = min(column, p.n - 1u);  // columns past the end repeat the last one and are not stored

    let ahead = (group.y * groups.x + group.x + 1u) * 8u * k8 + 4u * lane;
    let end = p.n * k8 - 1u;
    var touched = 0u;

    var low: vec4f;
    var high: vec4f;
    for (var step = 0u; step < k8; step += 4u) {
        // 32 k of x, spread over the lanes; 0 past the end, where the last weights are repeated.
        let at = 2u * step + lane;
        let v = select(vec4f(), x[row * 2u * k8 + min(at, 2u * k8 - 1u)], at < 2u * k8);
        touched |= w[min(ahead + 8u * step, end)].x;
        var both: array<mat2x4f, 4>;
        for (var i = 0u; i < 4u; i++) { both[i] = rows8(n, min(step + i, k8 - 1u)); }
        for (var i = 0u; i < 4u; i++) {
            low += both[i][0] * subgroupShuffle(v, 2u * i);
            high += both[i][1] * subgroupShuffle(v, 2u * i + 1u);
        }
    }

    if column < p.n && (p.k > 0u || touched == 0u) {  // always, if in range; but touched is needed
        let i = row * p.stride + p.first + column;
        let sum = p.scale * dot(low + high, vec4f(1.0));
        y[i] = select(0.0, y[i], p.accumulate == 1u) + sum;
    }
}
