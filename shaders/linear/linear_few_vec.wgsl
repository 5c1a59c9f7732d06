// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m.
// roles: rows, codebook, input4, branch
// dispatch: (N/256 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// 1×4 outputs an invocation, without subgroups: for software adapters that have none of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K), or gate and up, (2, M, K)
@group(0) @binding(2) var<storage, read>       norm:   array<vec4f>;      // (K)
@group(0) @binding(3) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(4) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(5) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(6) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(7) var<storage, read>       down:   array<f32>;        // (M, R)
@group(0) @binding(8) var<storage, read>       b:      array<f32>;        // (N, R)
@group(0) @binding(9) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

@compute @workgroup_size(64)
fn linear_few(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let quad = (group.y * groups.x + group.x) * 64u + lane;
    if quad >= p.n / 4u { return; }
    let row = group.z;
    var sum: vec4f;
    let k8 = p.k / 8u;
    for (var first = 0u; first < k8; first += 8u) {
        var part = vec4f();
        for (var i = first; i < min(first + 8u, k8); i++) {
            let rows = rows32(quad, i);
            part += rows.low * input4(row, 2u * i) + rows.high * input4(row, 2u * i + 1u);
        }
        sum += part * rows32_scale(quad, first / 8u);
    }
    sum *= p.scale * input_factor(input_squares);
    let n = 4u * quad;
    for (var r = 0u; r < branch_rank(); r++) {
        sum += vec4f(
            branch_at(row, n, r), branch_at(row, n + 1u, r),
            branch_at(row, n + 2u, r), branch_at(row, n + 3u, r),
        );
    }
    let at = (row * p.stride + p.first) / 4u + quad;
    y[at] = select(vec4f(), y[at], p.accumulate == 1u) + sum;
}
