// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] + branch[m, n], w in NF4 quads.
// roles: branch8   uses: nf4_lanes8
// dispatch: (N/64, M/16)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// A subgroup of 8 lanes makes 16 rows × 64 columns, a lane 16 × 8, without barriers or shared
// memory: on a software adapter each storage load is one scalar load per lane, so that loads per
// multiply-add decide.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N/4, K/8): 8 codes of 4 rows
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // (K/64, N/4): codes of 4 rows
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read>       down:   array<vec4f>;      // (M, R)
@group(0) @binding(7) var<storage, read>       b:      array<vec4f>;      // (N, R)
@group(0) @binding(8) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

const TM = 16u;         // rows of an invocation
const LOADS = TM / 4u;  // vec4 loads of x per step of 8 k: the subgroup's 32 values serve 4 rows
const QUADS = 2u;       // groups of 4 columns of an invocation

alias Sums = array<array<array<vec4f, QUADS>, 4>, LOADS>;  // [4 rows][row][quad]
alias Tile = array<mat4x4f, QUADS>;                        // four rows of W at four k

// Adds the products of eight k: `v` is what a lane has loaded of the `g`-th four rows of x.
fn add_products(acc: ptr<function, Sums>, g: u32, v: vec4f, low: Tile, high: Tile) {
    for (var i = 0u; i < 4u; i++) {
        let even = subgroupShuffle(v, 2u * i);
        let odd = subgroupShuffle(v, 2u * i + 1u);
        for (var t = 0u; t < QUADS; t++) {
            (*acc)[g][i][t] += low[t] * even + high[t] * odd;
        }
    }
}

// Four rows of W (components) at four successive k (columns).
fn dequantize(word: vec4u, shift: u32, absmax: vec4f) -> mat4x4f {
    let q = word >> vec4u(shift);
    return mat4x4f(
        nf4_values(q & vec4u(15u)) * absmax,
        nf4_values((q >> vec4u(4u)) & vec4u(15u)) * absmax,
        nf4_values((q >> vec4u(8u)) & vec4u(15u)) * absmax,
        nf4_values((q >> vec4u(12u)) & vec4u(15u)) * absmax,
    );
}

@compute @workgroup_size(8)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    nf4_begin(lane);
    let n4 = p.n / 4u;
    let k8 = p.k / 8u;
    let blocks = p.k / 64u;
    let row = group.y * TM;
    let column = group.x * 8u * QUADS + lane;

    // Lanes 2i and 2i+1 load eight k of row 4g+i. Rows and columns past the end repeat the last
    // one; only the stores are guarded.
    var x_at: array<u32, LOADS>;
    for (var g = 0u; g < LOADS; g++) {
        x_at[g] = min(row + 4u * g + lane / 2u, p.m - 1u) * 2u * k8 + (lane & 1u);
    }
    // A row of W has at most 256 blocks, so at most two nested scales; `turn` is its first block
    // under the second one.
    var quad: array<u32, QUADS>;
    var nested0: array<vec4f, QUADS>;
    var nested1: array<vec4f, QUADS>;
    var turn: array<vec4u, QUADS>;
    for (var t = 0u; t < QUADS; t++) {
        quad[t] = min(column + 8u * t, n4 - 1u);
        for (var j = 0u; j < 4u; j++) {
            let block = (4u * quad[t] + j) * blocks;
            nested0[t][j] = nested[block / 256u];
            nested1[t][j] = nested[(block + blocks - 1u) / 256u];
            turn[t][j] = 256u - block % 256u;
        }
    }

    var acc: Sums;
    for (var block = 0u; block < blocks; block++) {
        var absmax: array<vec4f, QUADS>;
        for (var t = 0u; t < QUADS; t++) {
            let c = (vec4u(scales[block * n4 + quad[t]]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
            let s = vec4f(nf4_scale(c.x), nf4_scale(c.y), nf4_scale(c.z), nf4_scale(c.w));
            absmax[t] = s * select(nested0[t], nested1[t], vec4u(block) >= turn[t]) + p.offset;
        }
        for (var step = 8u * block; step < 8u * block + 8u; step++) {
            var low: Tile;   // k 0-3 of the step
            var high: Tile;  // k 4-7
            for (var t = 0u; t < QUADS; t++) {
                let word = w[quad[t] * k8 + step];
                low[t] = dequantize(word, 0u, absmax[t]);
                high[t] = dequantize(word, 16u, absmax[t]);
            }
            for (var g = 0u; g < LOADS; g++) {
                add_products(&acc, g, x[x_at[g] + 2u * step], low, high);
            }
        }
    }
    for (var g = 0u; g < LOADS; g++) {
        for (var i = 0u; i < 4u; i++) {
            for (var t = 0u; t < QUADS; t++) { acc[g][i][t] *= p.scale; }
        }
    }
    if BRANCH {
        // R more k, of factors that are not quantized.
        for (var step = 0u; step < p.rank / 8u; step++) {
            var low: Tile;
            var high: Tile;
            for (var t = 0u; t < QUADS; t++) {
                low[t] = branch_up8(quad[t], 2u * step);
                high[t] = branch_up8(quad[t], 2u * step + 1u);
            }
            for (var g = 0u; g < LOADS; g++) {
                let r = min(row + 4u * g + lane / 2u, p.m - 1u);
                add_products(&acc, g, branch_down8(r, 2u * step + (lane & 1u)), low, high);
            }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var r = row; r < min(row + TM, p.m); r += 4u) {
        for (var i = 0u; i < 4u; i++) {
            for (var t = 0u; t < QUADS; t++) {
                if r + i < p.m && column + 8u * t < n4 {
                    let at = ((r + i) * p.stride + p.first) / 4u + column + 8u * t;
                    var sum = acc[0][i][t];
                    if p.accumulate == 1u { sum += y[at]; }
                    y[at] = sum;
                }
            }
        }
        for (var g = 1u; g < LOADS; g++) { acc[g - 1u] = acc[g]; }
    }
}
