// lora_up_bwd: dlow = scale · dy·B.
// roles: none
// dispatch: (R/16, M/32)   writes: dlow =   source: derivative of LoRA's branch by x·Aᵀ
// A subgroup of 8 lanes makes 32 rows × 16 ranks, a lane 32 × 2: a load of dy is spread over the
// lanes by shuffles.

struct Params { m: u32, n: u32, rank: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       dy:   array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       b:    array<vec2f>;  // (N, R)
@group(0) @binding(3) var<storage, read_write> dlow: array<vec2f>;  // (M, R)

const TM = 32u;         // rows of an invocation
const LOADS = TM / 4u;  // vec4 loads of dy per step of 8 n: the subgroup's 32 values serve 4 rows

@compute @workgroup_size(8)
fn lora_up_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n4 = p.n / 4u;
    let r2 = p.rank / 2u;
    let row = group.y * TM;
    let pair = group.x * 8u + lane;

    // Lanes 2i and 2i+1 load eight n of row 4g+i. Rows and ranks past the end repeat the last one;
    // only the stores are guarded.
    let b_at = min(pair, r2 - 1u);
    var dy_at: array<u32, LOADS>;
    for (var g = 0u; g < LOADS; g++) {
        dy_at[g] = min(row + 4u * g + lane / 2u, p.m - 1u) * n4 + (lane & 1u);
    }

    var acc: array<array<vec2f, 4>, LOADS>;
    for (var n = 0u; n < n4; n += 2u) {
        let at = b_at + 4u * n * r2;
        let first = mat4x2f(b[at], b[at + r2], b[at + 2u * r2], b[at + 3u * r2]);
        let then = at + 4u * r2;
        let second = mat4x2f(b[then], b[then + r2], b[then + 2u * r2], b[then + 3u * r2]);
        for (var g = 0u; g < LOADS; g++) {
            let v = dy[dy_at[g] + n];
            for (var i = 0u; i < 4u; i++) {
                acc[g][i] += first * subgroupShuffle(v, 2u * i) + second * subgroupShuffle(v, 2u * i + 1u);
            }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var r = row; r < min(row + TM, p.m); r += 4u) {
        for (var i = 0u; i < 4u; i++) {
            if r + i < p.m && pair < r2 { dlow[(r + i) * r2 + pair] = p.scale * acc[0][i]; }
        }
        for (var g = 1u; g < LOADS; g++) { acc[g - 1u] = acc[g]; }
    }
}
