// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m.
// roles: rows, input4, branch   uses: shared_nf4
// dispatch: (N/4 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// A workgroup makes four outputs, 16 invocations each: they take every 16th eight of k, so that
// what a wave loads at once lies side by side, the four rows of NF4 quads among them. Two loads are
// on their way before one is multiplied. Counted in docs/gpu-on-paper.md, "A token on paper".

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
@group(0) @binding(9) var<storage, read_write> y:      array<f32>;        // (M, stride)

const COLUMNS = 4u;
const LANES = 16u;  // invocations of a column

var<workgroup> sums: array<f32, 64>;

// The sum over the invocations whose number is the same modulo `kept`, a power of two, in the first
// of them.
fn summed(value: f32, lane: u32, kept: u32) -> f32 {
    workgroupBarrier();
    sums[lane] = value;
    workgroupBarrier();
    for (var half = COLUMNS * LANES / 2u; half >= kept; half /= 2u) {
        if lane < half { sums[lane] += sums[lane + half]; }
        workgroupBarrier();
    }
    return sums[lane % kept];
}

// Eight k of a row, four side by side.
fn product(words: Rows8, row: u32, i: u32) -> vec4f {
    let both = rows8_decode(words);
    return fma(both[0], input4(row, 2u * i), both[1] * input4(row, 2u * i + 1u));
}

@compute @workgroup_size(64)
fn linear_few(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k8 = p.k / 8u;
    let row = group.z;
    let column = (group.y * groups.x + group.x) * COLUMNS + lane % COLUMNS;
    let n = min(column, p.n - 1u);  // columns past the end repeat the last one and are not stored
    let mine = lane / COLUMNS;
    rows8_begin(lane);
    workgroupBarrier();

    var acc: vec4f;
    for (var i = mine; i < k8; i += 2u * LANES) {
        let j = min(i + LANES, k8 - 1u);
        let first = rows8_load(n, i);
        let second = rows8_load(n, j);
        acc += product(first, row, i);
        if i + LANES < k8 { acc += product(second, row, j); }
    }
    if INPUT_SQUARES { acc *= input_factor(summed(input_squares, lane, COLUMNS)); }
    var up = 0.0;
    for (var r = mine; r < branch_rank(); r += LANES) { up += branch_at(row, n, r); }

    let sum = summed(p.scale * (acc.x + acc.y + acc.z + acc.w) + up, lane, COLUMNS);
    if mine == 0u && column < p.n {
        let i = row * p.stride + p.first + column;
        y[i] = select(0.0, y[i], p.accumulate == 1u) + sum;
    }
}
