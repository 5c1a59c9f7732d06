// lora_down_bwd: dx += mask ⊙ dlow·A.
// roles: mask
// dispatch: (K/64, M/16)   writes: dx +=   source: derivative of lora_down by its input
// A subgroup of 8 lanes makes 16 rows × 64 columns, a lane 16 × 8: a load of dlow is spread over
// the lanes by shuffles.

struct Params { m: u32, k: u32, rank: u32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       dlow: array<vec4f>;  // (M, R)
@group(0) @binding(2) var<storage, read>       a:    array<vec4f>;  // (R, K)
@group(0) @binding(3) var<storage, read_write> dx:   array<vec4f>;  // (M, K)

const TM = 16u;         // rows of an invocation
const LOADS = TM / 8u;  // vec4 loads of dlow per step of four ranks: the subgroup's 32 values serve 8 rows

@compute @workgroup_size(8)
fn lora_down_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let k4 = p.k / 4u;
    let r4 = p.rank / 4u;
    let row = group.y * TM;
    let column = 2u * (group.x * 8u + lane);
    let a_at = min(column, k4 - 2u);  // columns past the end repeat the last ones and are not stored

    var acc: array<array<array<vec4f, 2>, 4>, TM / 4u>;  // [4 rows][row][half]
    for (var r = 0u; r < r4; r++) {
        let at = 4u * r * k4 + a_at;
        var down: array<mat4x4f, 2>;
        for (var c = 0u; c < 2u; c++) {
            down[c] = mat4x4f(a[at + c], a[at + c + k4], a[at + c + 2u * k4], a[at + c + 3u * k4]);
        }
        var v: array<vec4f, LOADS>;
        for (var g = 0u; g < LOADS; g++) { v[g] = dlow[min(row + 8u * g + lane, p.m - 1u) * r4 + r]; }
        for (var g = 0u; g < TM / 4u; g++) {
            for (var i = 0u; i < 4u; i++) {
                let d = subgroupShuffle(v[g / 2u], 4u * (g % 2u) + i);
                for (var c = 0u; c < 2u; c++) { acc[g][i][c] += down[c] * d; }
            }
        }
    }

    // Four rows a turn, then the next four move up: a load or store is slow to compile.
    for (var m = row; m < min(row + TM, p.m); m += 4u) {
        for (var i = 0u; i < 4u; i++) {
            if m + i < p.m && column < k4 {
                let at = (m + i) * k4 + column;
                for (var c = 0u; c < 2u; c++) {
                    dx[at + c] = dx[at + c] + acc[0][i][c] * mask4(4u * (at + c));
                }
            }
        }
        for (var g = 1u; g < TM / 4u; g++) { acc[g - 1u] = acc[g]; }
    }
}
