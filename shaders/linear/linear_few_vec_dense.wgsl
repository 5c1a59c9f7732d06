// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m, w dense. 1×4
// roles: rows, input4, branch
// dispatch: (N/256 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// outputs an invocation, without subgroups: for software adapters that have none of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K), or gate and up, (2, M, K)
@group(0) @binding(2) var<storage, read>       norm:   array<vec4f>;      // (K)
@group(0) @binding(3) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(4) var<storage, read>       scales: array<u32>;        // one per block of 64
@group(0) @binding(5) var<storage, read>       nested: array<f32>;        // one per 256 blocks
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
    let n = ((group.y * groups.x + group.x) * 64u + lane) * 4u;
    if n >= p.n { return; }
    let row = group.z;
    // Products of four k side by side, for each of the four columns.
    var s: mat4x4f;
    for (var i = 0u; i < p.k / 8u; i++) {
        let even = input4(row, 2u * i);
        let odd = input4(row, 2u * i + 1u);
        for (var j = 0u; j < 4u; j++) {
            let both = rows8(n + j, i);
            s[j] += both[0] * even + both[1] * odd;
        }
    }
    var sum = p.scale * input_factor(input_squares) * (vec4f(1.0) * s);  // the sum of each column
    for (var r = 0u; r < branch_rank(); r++) {
        sum += vec4f(
            branch_at(row, n, r), branch_at(row, n + 1u, r),
            branch_at(row, n + 2u, r), branch_at(row, n + 3u, r),
        );
    }
    let at = (row * p.stride + p.first + n) / 4u;
    y[at] = select(vec4f(), y[at], p.accumulate == 1u) + sum;
}
