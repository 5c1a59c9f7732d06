// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m, w in NF4 quads. 1×4
// roles: indexed, input4, branch
// dispatch: (N/256 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// outputs an invocation, without subgroups: for software adapters that have none of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K), or gate and up, (2, M, K)
@group(0) @binding(2) var<storage, read>       norm:   array<vec4f>;      // (K)
@group(0) @binding(3) var<storage, read>       w:      array<vec4u>;      // (N/4, K/8): 8 codes of 4 rows
@group(0) @binding(4) var<storage, read>       scales: array<u32>;        // (K/64, N/4): codes of 4 rows
@group(0) @binding(5) var<storage, read>       nested: array<f32>;        // one per 256 blocks
@group(0) @binding(6) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(7) var<storage, read>       down:   array<f32>;        // (M, R)
@group(0) @binding(8) var<storage, read>       b:      array<f32>;        // (N, R)
@group(0) @binding(9) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

// The scales of a block of 64 k in the four rows of a quad.
fn scale_of(quad: u32, block: u32) -> vec4f {
    let c = (vec4u(scales[block * (p.n / 4u) + quad]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
    let flat = ((4u * quad + vec4u(0u, 1u, 2u, 3u)) * (p.k / 64u) + block) / 256u;
    return vec4f(nf4_scale(c.x), nf4_scale(c.y), nf4_scale(c.z), nf4_scale(c.w))
        * vec4f(nested[flat.x], nested[flat.y], nested[flat.z], nested[flat.w]) + p.offset;
}

// Four rows of W (components) at four successive k (columns), not yet scaled.
fn unpack(word: vec4u, shift: u32) -> mat4x4f {
    let q = word >> vec4u(shift);
    return mat4x4f(
        nf4_values(q & vec4u(15u)),
        nf4_values((q >> vec4u(4u)) & vec4u(15u)),
        nf4_values((q >> vec4u(8u)) & vec4u(15u)),
        nf4_values((q >> vec4u(12u)) & vec4u(15u)),
    );
}

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
    for (var block = 0u; block < p.k / 64u; block++) {
        var part = vec4f();
        for (var i = 8u * block; i < 8u * block + 8u; i++) {
            let word = w[quad * (p.k / 8u) + i];
            part += unpack(word, 0u) * input4(row, 2u * i) + unpack(word, 16u) * input4(row, 2u * i + 1u);
        }
        sum += part * scale_of(quad, block);
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
