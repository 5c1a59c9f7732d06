// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m, w in NF4 quads.
// roles: input4, branch   uses: shared_nf4, quads_nf4
// dispatch: (N/8 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// A workgroup makes two quads of outputs, 32 invocations each: they take every 32nd eight of k, all
// four rows of it at once, so that x and addresses are shared and what a wave loads lies side by
// side. Counted in docs/gpu-on-paper.md, "A token on paper".

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

const QUADS = 2u;
const LANES = 32u;  // invocations of a quad

var<workgroup> sums: array<vec4f, 64>;

// The sum over the invocations of a quad, in all of them.
fn summed(value: vec4f, lane: u32) -> vec4f {
    workgroupBarrier();
    sums[lane] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane % LANES < half { sums[lane] += sums[lane + half]; }
        workgroupBarrier();
    }
    return sums[lane / LANES * LANES];
}

@compute @workgroup_size(64)
fn linear_few(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n4 = p.n / 4u;
    let k8 = p.k / 8u;
    let blocks = p.k / 64u;
    let row = group.z;
    let column = (group.y * groups.x + group.x) * QUADS + lane / LANES;
    let quad = min(column, n4 - 1u);  // quads past the end repeat the last one and are not stored
    let mine = lane % LANES;
    nf4_begin(lane);
    workgroupBarrier();

    // A row of W has at most 256 blocks, so at most two nested scales; `turn` is its first block
    // under the second one.
    let flat = (4u * quad + vec4u(0u, 1u, 2u, 3u)) * blocks;
    let last = (flat + blocks - 1u) / 256u;
    let nested0 = vec4f(
        nested[flat.x / 256u], nested[flat.y / 256u], nested[flat.z / 256u], nested[flat.w / 256u],
    );
    let nested1 = vec4f(nested[last.x], nested[last.y], nested[last.z], nested[last.w]);
    let turn = 256u - flat % 256u;

    var acc: vec4f;
    for (var i = mine; i < k8; i += LANES) {
        let block = i / 8u;
        let word = w[quad * k8 + i];
        let c = (vec4u(scales[block * n4 + quad]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
        let even = input4(row, 2u * i);
        let odd = input4(row, 2u * i + 1u);
        let s = vec4f(nf4_scale(c.x), nf4_scale(c.y), nf4_scale(c.z), nf4_scale(c.w));
        let absmax = s * select(nested0, nested1, vec4u(block) >= turn) + p.offset;
        acc = fma(quad_products(word, even, odd), absmax, acc);
    }
    acc *= p.scale;
    if INPUT_SQUARES { acc *= input_factor(summed(vec4f(input_squares), lane).x); }
    for (var r = mine; r < branch_rank(); r += LANES) {
        let n = 4u * quad;
        acc += vec4f(
            branch_at(row, n, r), branch_at(row, n + 1u, r),
            branch_at(row, n + 2u, r), branch_at(row, n + 3u, r),
        );
    }

    let sum = summed(acc, lane);
    if mine == 0u && column < n4 {
        let i = (row * p.stride + p.first) / 4u + column;
        y[i] = select(vec4f(), y[i], p.accumulate == 1u) + sum;
    }
}
