// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] + branch[m, n], w dense.
// roles: rows, branch8
// dispatch: (N/32, M/32)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// A subgroup of 8 lanes makes 32 rows × 32 columns, a lane 32 × 4: a load of x is spread over the
// lanes by shuffles.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // none
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // none
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // none
@group(0) @binding(6) var<storage, read>       down:   array<vec4f>;      // (M, R)
@group(0) @binding(7) var<storage, read>       b:      array<vec4f>;      // (N, R)
@group(0) @binding(8) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

const TM = 32u;         // rows of an invocation
const LOADS = TM / 4u;  // vec4 loads of x per step of 8 k: the subgroup's 32 values serve 4 rows

alias Sums = array<array<vec4f, 4>, LOADS>;

// Adds the products of eight k: `v` is what a lane has loaded of the `g`-th four rows of x; a
// column of the matrices is a column of y.
fn add_products(acc: ptr<function, Sums>, g: u32, v: vec4f, low: mat4x4f, high: mat4x4f) {
    for (var i = 0u; i < 4u; i++) {
        let even = subgroupShuffle(v, 2u * i);
        let odd = subgroupShuffle(v, 2u * i + 1u);
        (*acc)[g][i] += even * low + odd * high;
    }
}

@compute @workgroup_size(8)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k8 = p.k / 8u;
    let n4 = p.n / 4u;
    let row = group.y * TM;
    let column = group.x * 8u + lane;

    // Lanes 2i and 2i+1 load eight k of row 4g+i. Rows and columns past the end repeat the last
    // one; only the stores are guarded.
    let n = min(column, n4 - 1u) * 4u;
    var x_at: array<u32, LOADS>;
    for (var g = 0u; g < LOADS; g++) {
        x_at[g] = min(row + 4u * g + lane / 2u, p.m - 1u) * 2u * k8 + (lane & 1u);
    }

    var acc: Sums;
    for (var step = 0u; step < k8; step++) {
        var low: mat4x4f;   // k 0-3 of the step
        var high: mat4x4f;  // k 4-7
        for (var t = 0u; t < 4u; t++) {
            let both = rows8(n + t, step);
            low[t] = both[0];
            high[t] = both[1];
        }
        for (var g = 0u; g < LOADS; g++) {
            add_products(&acc, g, x[x_at[g] + 2u * step], low, high);
        }
    }
    for (var g = 0u; g < LOADS; g++) {
        for (var i = 0u; i < 4u; i++) { acc[g][i] *= p.scale; }
    }
    if BRANCH {
        // R more k.
        for (var step = 0u; step < p.rank / 8u; step++) {
            let low = transpose(branch_up8(n / 4u, 2u * step));
            let high = transpose(branch_up8(n / 4u, 2u * step + 1u));
            for (var g = 0u; g < LOADS; g++) {
                let r = min(row + 4u * g + lane / 2u, p.m - 1u);
                add_products(&acc, g, branch_down8(r, 2u * step + (lane & 1u)), low, high);
            }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var r = row; r < min(row + TM, p.m); r += 4u) {
        for (var i = 0u; i < 4u; i++) {
            if r + i < p.m && column < n4 {
                let at = ((r + i) * p.stride + p.first) / 4u + column;
                var sum = acc[0][i];
                if p.accumulate == 1u { sum += y[at]; }
                y[at] = sum;
            }
        }
        for (var g = 1u; g < LOADS; g++) { acc[g - 1u] = acc[g]; }
    }
}
