// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k].
// roles: rows   uses: codebook_selects
// dispatch: (N/64, M/64)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// By matrix units of 16 × 16 × 16, factors of f16 and sums of f32. As linear_fwd_cooperative, but a
// quarter has 2 × 2 units, the tiles 32 k, and they lie beside the outputs: 24 KiB of shared
// memory. Products of f16 are exact in f32, so the error is that of rounding x and w; x beyond
// ±65,504 becomes infinite.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read>       down:   array<f32>;        // none
@group(0) @binding(7) var<storage, read>       b:      array<f32>;        // none
@group(0) @binding(8) var<storage, read_write> y:      array<f32>;        // (M, stride)

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

var<workgroup> x_tile: array<f16, 2048>;   // (64, 32)
var<workgroup> w_tile: array<f16, 2048>;   // (64, 32)
var<workgroup> outputs: array<f32, 4096>;  // (64, 64)

@compute @workgroup_size(128)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let k8 = p.k / 8u;
    // The invocation's part of the tiles: sixteen k of a row of x and of a row of w. Rows past the
    // end repeat the last one.
    let part = local / 2u;
    let x_row = min(group.y * 64u + part, p.m - 1u) * 2u * k8;
    let w_row = min(group.x * 64u + part, p.n - 1u);

    for (var turn = 0u; turn < 4u; turn += subgroups) {
        let quarter = min(turn + subgroup, 3u);
        let top = 32u * (quarter / 2u);
        let left = 32u * (quarter % 2u);
        for (var i = local; i < 4096u; i += 128u) { outputs[i] = 0.0; }
        workgroupBarrier();
        var acc: array<array<Sums, 2>, 2>;
        for (var i = 0u; i < 2u; i++) {
            for (var j = 0u; j < 2u; j++) { acc[i][j] = coopLoadT<Sums>(&outputs[0], 64u); }
        }
        workgroupBarrier();
        for (var k = 0u; k < k8; k += 4u) {
            // Past the end x is 0, and the last weights are repeated.
            for (var e = 2u * (local % 2u); e < 2u * (local % 2u) + 2u; e++) {
                let at = min(k + e, k8 - 1u);
                let is_in = k + e < k8;
                let both = rows8(w_row, at);
                for (var h = 0u; h < 2u; h++) {
                    let four = select(vec4f(), x[x_row + 2u * at + h], is_in);
                    let to = 32u * part + 8u * e + 4u * h;
                    for (var c = 0u; c < 4u; c++) {
                        x_tile[to + c] = f16(four[c]);
                        w_tile[to + c] = f16(both[h][c]);
                    }
                }
            }
            workgroupBarrier();
            for (var unit = 0u; unit < 32u; unit += 16u) {
                for (var i = 0u; i < 2u; i++) {
                    let r = coopLoadT<Left>(&x_tile[32u * (top + 16u * i) + unit], 32u);
                    for (var j = 0u; j < 2u; j++) {
                        let c = coopLoad<Right>(&w_tile[32u * (left + 16u * j) + unit], 32u);
                        acc[i][j] = coopMultiplyAdd(r, c, acc[i][j]);
                    }
                }
            }
            workgroupBarrier();
        }
        for (var i = 0u; i < 2u; i++) {
            for (var j = 0u; j < 2u; j++) {
                coopStoreT(acc[i][j], &outputs[64u * (top + 16u * i) + left + 16u * j], 64u);
            }
        }
        workgroupBarrier();
        // What this turn made: quarters turn to turn + subgroups − 1.
        for (var i = local; i < 4096u; i += 128u) {
            let r = group.y * 64u + i / 64u;
            let c = group.x * 64u + i % 64u;
            let made = 2u * (i / 2048u) + i % 64u / 32u;
            if made >= turn && made < turn + subgroups && r < p.m && c < p.n {
                let at = r * p.stride + p.first + c;
                y[at] = select(0.0, y[at], p.accumulate == 1u) + p.scale * outputs[i];
            }
        }
        workgroupBarrier();
    }
}
