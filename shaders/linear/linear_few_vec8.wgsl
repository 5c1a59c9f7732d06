// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m, w in NF4 quads.
// roles: input4, branch   uses: nf4_lanes8, quads_nf4
// dispatch: (N/32 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// A subgroup of 8 lanes makes one row × 32 columns, a lane an eighth of each sum: it takes 8 k of
// every block of 64, so that a block's words lie side by side and x is loaded once for all columns.
// With each block it touches 16 cache lines of the next workgroup's words: memory fetches them at
// once, not one by one. Where they come from an image, a copy has just brought them to the cache.

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
@group(0) @binding(9) var<storage, read_write> y:      array<f32>;        // (M, stride)

const QUADS = 8u;  // groups of 4 columns, as many as lanes: each lane loads the scales of one

@compute @workgroup_size(8)
fn linear_few(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    nf4_begin(lane);
    let n4 = p.n / 4u;
    let k8 = p.k / 8u;
    let blocks = p.k / 64u;
    let row = group.z;
    let first = (group.y * groups.x + group.x) * QUADS;
    let mine = min(first + lane, n4 - 1u);  // quads past the end repeat the last one and are not stored

    // A row of W has at most 256 blocks, so at most two nested scales; `turn` is its first block
    // under the second one.
    var nested0: vec4f;
    var nested1: vec4f;
    var turn: vec4u;
    for (var j = 0u; j < 4u; j++) {
        let block = (4u * mine + j) * blocks;
        nested0[j] = nested[block / 256u];
        nested1[j] = nested[(block + blocks - 1u) / 256u];
        turn[j] = 256u - block % 256u;
    }

    let ahead = (first + QUADS) * k8 + 4u * lane;
    let end = n4 * k8 - 1u;
    var touched = 0u;

    var acc: array<vec4f, QUADS>;
    for (var block = 0u; block < blocks; block++) {
        if !FROM_IMAGES {
            touched |= w[min(ahead + 64u * block, end)].x | w[min(ahead + 64u * block + 32u, end)].x;
        }
        let c = (vec4u(scales[block * n4 + mine]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
        let s = vec4f(nf4_scale(c.x), nf4_scale(c.y), nf4_scale(c.z), nf4_scale(c.w));
        let absmax = s * select(nested0, nested1, vec4u(block) >= turn) + p.offset;
        let at = 16u * block + 2u * lane;
        let even = input4(row, at);
        let odd = input4(row, at + 1u);
        for (var t = 0u; t < QUADS; t++) {
            let word = w[min(first + t, n4 - 1u) * k8 + 8u * block + lane];
            acc[t] = fma(quad_products(word, even, odd), subgroupShuffle(absmax, t), acc[t]);
        }
    }

    var scale = p.scale;
    if INPUT_SQUARES {
        var squares = input_squares;
        squares += subgroupShuffleXor(squares, 1u);
        squares += subgroupShuffleXor(squares, 2u);
        scale *= input_factor(squares + subgroupShuffleXor(squares, 4u));
    }
    for (var t = 0u; t < QUADS; t++) {
        acc[t] *= scale;
        let n = 4u * min(first + t, n4 - 1u);
        for (var r = lane; r < branch_rank(); r += 8u) {
            acc[t] += vec4f(
                branch_at(row, n, r), branch_at(row, n + 1u, r),
                branch_at(row, n + 2u, r), branch_at(row, n + 3u, r),
            );
        }
        acc[t] += subgroupShuffleXor(acc[t], 1u);
        acc[t] += subgroupShuffleXor(acc[t], 2u);
        acc[t] += subgroupShuffleXor(acc[t], 4u);
    }
    // Every lane has all sums; it stores one of each eight.
    for (var t = 0u; t < QUADS; t += 2u) {
        let quad = select(acc[t], acc[t + 1u], lane >= 4u);
        let pair = select(quad.xy, quad.zw, (lane & 2u) != 0u);
        let n = 4u * (first + t) + lane;
        if n < p.n && (p.k > 0u || touched == 0u) {  // always, if n < N; but what was touched is needed
            let i = row * p.stride + p.first + n;
            let sum = select(pair.x, pair.y, (lane & 1u) != 0u);
            y[i] = select(0.0, y[i], p.accumulate == 1u) + sum;
        }
    }
}
