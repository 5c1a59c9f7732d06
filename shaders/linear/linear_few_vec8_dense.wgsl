// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m, w dense.
// roles: rows, input4, branch
// dispatch: (N/8 over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// A subgroup of 8 lanes makes one row × 8 columns, a lane an eighth of each sum: it takes 8 k of
// every 64, so that what the lanes load at once lies side by side and x is loaded once for all
// columns. First it touches all cache lines of the next workgroup's weights (of 16 bits): memory
// fetches them at once, not one by one. Where they come from an image, they are in the cache, since
// they have just been copied.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K), or gate and up, (2, M, K)
@group(0) @binding(2) var<storage, read>       norm:   array<vec4f>;      // (K)
@group(0) @binding(3) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(4) var<storage, read>       scales: array<u32>;        // none
@group(0) @binding(5) var<storage, read>       nested: array<f32>;        // none
@group(0) @binding(6) var<uniform>             table:  array<vec4f, 64>;  // none
@group(0) @binding(7) var<storage, read>       down:   array<f32>;        // (M, R)
@group(0) @binding(8) var<storage, read>       b:      array<f32>;        // (N, R)
@group(0) @binding(9) var<storage, read_write> y:      array<f32>;        // (M, stride)

const COLUMNS = 8u;  // as many as lanes: each lane stores one

@compute @workgroup_size(8)
fn linear_few(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k8 = p.k / 8u;
    let row = group.z;
    let first = (group.y * groups.x + group.x) * COLUMNS;

    let ahead = (first + COLUMNS) * k8 + 4u * lane;
    let end = p.n * k8 - 1u;
    var touched = 0u;
    if !FROM_IMAGES {
        for (var i = 0u; i < COLUMNS * k8; i += 32u) { touched |= w[min(ahead + i, end)].x; }
    }

    var acc: array<vec4f, COLUMNS>;
    for (var step = 0u; step < k8; step += 8u) {
        // Past the end x is 0, and the last weights are repeated.
        let i = min(step + lane, k8 - 1u);
        var even = vec4f();
        var odd = vec4f();
        if step + lane < k8 {
            even = input4(row, 2u * i);
            odd = input4(row, 2u * i + 1u);
        }
        for (var t = 0u; t < COLUMNS; t++) {
            // Columns past the end repeat the last one and are not stored.
            let both = rows8(min(first + t, p.n - 1u), i);
            acc[t] = fma(both[1], odd, fma(both[0], even, acc[t]));
        }
    }

    var scale = p.scale;
    if INPUT_SQUARES {
        var squares = input_squares;
        squares += subgroupShuffleXor(squares, 1u);
        squares += subgroupShuffleXor(squares, 2u);
        scale *= input_factor(squares + subgroupShuffleXor(squares, 4u));
    }
    // Every lane has all sums; it stores its own.
    var sum = 0.0;
    for (var t = 0u; t < COLUMNS; t++) {
        var all = acc[t].x + acc[t].y + acc[t].z + acc[t].w;
        all += subgroupShuffleXor(all, 1u);
        all += subgroupShuffleXor(all, 2u);
        all += subgroupShuffleXor(all, 4u);
        sum = select(sum, all, lane == t);
    }
    let n = first + lane;
    if n < p.n && (p.k > 0u || touched == 0u) {  // always, if n < N; but what was touched is needed
        sum *= scale;
        for (var r = 0u; r < branch_rank(); r++) { sum += branch_at(row, n, r); }
        let i = row * p.stride + p.first + n;
        y[i] = select(0.0, y[i], p.accumulate == 1u) + sum;
    }
}
