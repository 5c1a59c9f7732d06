// lora_down: low = (mask ⊙ x)·Aᵀ.
// roles: mask
// dispatch: (R/16, M/32)   writes: low =   source: Hu et al. 2021, eq. 3
// A subgroup of 8 lanes makes 32 rows × 16 ranks, a lane 32 × 2: a load of x is spread over the
// lanes by shuffles.

struct Params { m: u32, k: u32, rank: u32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:   Params;
@group(0) @binding(1) var<storage, read>       x:   array<vec4f>;  // (M, K)
@group(0) @binding(2) var<storage, read>       a:   array<vec4f>;  // (R, K)
@group(0) @binding(3) var<storage, read_write> low: array<vec2f>;  // (M, R)

const TM = 32u;         // rows of an invocation
const LOADS = TM / 4u;  // vec4 loads of x per step of 8 k: the subgroup's 32 values serve 4 rows

@compute @workgroup_size(8)
fn lora_down(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k4 = p.k / 4u;
    let row = group.y * TM;
    let pair = group.x * 8u + lane;

    // Lanes 2i and 2i+1 load eight k of row 4g+i. Rows and ranks past the end repeat the last one;
    // only the stores are guarded.
    let a_at = min(pair, p.rank / 2u - 1u) * 2u * k4;
    var x_at: array<u32, LOADS>;
    for (var g = 0u; g < LOADS; g++) {
        x_at[g] = min(row + 4u * g + lane / 2u, p.m - 1u) * k4 + (lane & 1u);
    }

    var acc: array<array<vec2f, 4>, LOADS>;
    for (var k = 0u; k < k4; k += 2u) {
        let first = mat2x4f(a[a_at + k], a[a_at + k4 + k]);
        let second = mat2x4f(a[a_at + k + 1u], a[a_at + k4 + k + 1u]);
        for (var g = 0u; g < LOADS; g++) {
            let v = x[x_at[g] + k] * mask4(4u * (x_at[g] + k));
            for (var i = 0u; i < 4u; i++) {
                acc[g][i] += subgroupShuffle(v, 2u * i) * first + subgroupShuffle(v, 2u * i + 1u) * second;
            }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var r = row; r < min(row + TM, p.m); r += 4u) {
        for (var i = 0u; i < 4u; i++) {
            if r + i < p.m && 2u * pair < p.rank { low[(r + i) * (p.rank / 2u) + pair] = acc[0][i]; }
        }
        for (var g = 1u; g < LOADS; g++) { acc[g - 1u] = acc[g]; }
    }
}
