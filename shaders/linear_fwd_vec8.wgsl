// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] for few m, w in NF4 quads. A subgroup of
// roles: nf4
// dispatch: (N/32 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// 8 lanes makes one row × 32 columns, a lane four: a load of x is spread over the lanes by shuffles, and
// sums are scaled once per block.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N/4, K/8): 8 codes of 4 rows
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // (K/64, N/4): codes of 4 rows
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

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

@compute @workgroup_size(8)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    nf4_begin(lane);
    let n4 = p.n / 4u;
    let k8 = p.k / 8u;
    let blocks = p.k / 64u;
    let row = group.z;
    let column = (group.y * groups.x + group.x) * 8u + lane;
    let quad = min(column, n4 - 1u);  // columns past the end repeat the last ones and are not stored

    // A row of W has at most 256 blocks, so at most two nested scales; `turn` is its first block under
    // the second one.
    var nested0: vec4f;
    var nested1: vec4f;
    var turn: vec4u;
    for (var j = 0u; j < 4u; j++) {
        let block = (4u * quad + j) * blocks;
        nested0[j] = nested[block / 256u];
        nested1[j] = nested[(block + blocks - 1u) / 256u];
        turn[j] = 256u - block % 256u;
    }

    var acc: vec4f;
    for (var block = 0u; block < blocks; block++) {
        let c = (vec4u(scales[block * n4 + quad]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
        let s = vec4f(nf4_scale(c.x), nf4_scale(c.y), nf4_scale(c.z), nf4_scale(c.w));
        var sum: vec4f;
        for (var h = 0u; h < 2u; h++) {
            let v = x[row * 2u * k8 + 16u * block + 8u * h + lane];  // 32 k, spread over the lanes
            var word: array<vec4u, 4>;
            for (var i = 0u; i < 4u; i++) { word[i] = w[quad * k8 + 8u * block + 4u * h + i]; }
            for (var i = 0u; i < 4u; i++) {
                sum += unpack(word[i], 0u) * subgroupShuffle(v, 2u * i)
                    + unpack(word[i], 16u) * subgroupShuffle(v, 2u * i + 1u);
            }
        }
        acc += sum * (s * select(nested0, nested1, vec4u(block) >= turn) + p.offset);
    }

    if column < n4 {
        let at = (row * p.stride + p.first) / 4u + column;
        if p.accumulate == 1u {
            y[at] += p.scale * acc;
        } else {
            y[at] = p.scale * acc;
        }
    }
}
