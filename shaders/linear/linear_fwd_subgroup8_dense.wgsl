// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k], w dense.
// roles: rows
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
@group(0) @binding(6) var<storage, read>       down:   array<f32>;        // none
@group(0) @binding(7) var<storage, read>       b:      array<f32>;        // none
@group(0) @binding(8) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

const TM = 32u;         // rows of an invocation
const LOADS = TM / 4u;  // vec4 loads of x per step of 8 k: the subgroup's 32 values serve 4 rows

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

    var acc: array<array<vec4f, 4>, LOADS>;
    for (var step = 0u; step < k8; step++) {
        var low: mat4x4f;   // k 0-3 of the step; a column of the matrix per column of y
        var high: mat4x4f;  // k 4-7
        for (var t = 0u; t < 4u; t++) {
            let both = rows8(n + t, step);
            low[t] = both[0];
            high[t] = both[1];
        }
        for (var g = 0u; g < LOADS; g++) {
            let v = x[x_at[g] + 2u * step];
            for (var i = 0u; i < 4u; i++) {
                let even = subgroupShuffle(v, 2u * i);
                let odd = subgroupShuffle(v, 2u * i + 1u);
                acc[g][i] += even * low + odd * high;
            }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var r = row; r < min(row + TM, p.m); r += 4u) {
        for (var i = 0u; i < 4u; i++) {
            if r + i < p.m && column < n4 {
                let at = ((r + i) * p.stride + p.first) / 4u + column;
                var sum = p.scale * acc[0][i];
                if p.accumulate == 1u { sum += y[at]; }
                y[at] = sum;
            }
        }
        for (var g = 1u; g < LOADS; g++) { acc[g - 1u] = acc[g]; }
    }
}
