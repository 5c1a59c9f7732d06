// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k], by matrix units.
// roles: rows, unit   uses: cooperative_64x64, shared_nf4
// dispatch: (N/64, M/64)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// A workgroup makes 64 × 64 outputs from tiles of DEPTH k. Where factors are f16, the 64 rows of x
// are over one power of two: products are exact in f32, so the error is that of rounding x and w.
// Weights are taken as they are, up to ±65,504.

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

var<workgroup> w_tile: array<Factor, 64u * LINE>;  // (64, LINE): DEPTH k of a row

@compute @workgroup_size(128)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let k8 = p.k / 8u;
    // The invocation's part of the tiles: one half of a row of x and of a row of w. Rows past the
    // end repeat the last one.
    let part = local / 2u;
    let side = local % 2u;
    let x_row = min(group.y * 64u + part, p.m - 1u) * 2u * k8;
    let w_row = min(group.x * 64u + part, p.n - 1u);

    rows8_begin(local);
    power_begin(local);
    var scaling = Scaling(1.0, 1.0);
    if POWERS {
        var most = vec4f();
        for (var i = side; i < 2u * k8; i += 2u) { most = max(most, abs(x[x_row + i])); }
        scaling = scaling_of(most);
    }

    let to_output = p.scale * scaling.inverse;
    for (var turn = 0u; turn < 4u; turn += subgroups) {
        let quarter = quarter_of(turn, subgroup);
        for (var i = local; i < 4u * UNIT * UNIT; i += 128u) { made[i] = 0.0; }
        workgroupBarrier();
        var acc: array<array<Sums, UNITS>, UNITS>;
        for (var i = 0u; i < UNITS; i++) {
            for (var j = 0u; j < UNITS; j++) { acc[i][j] = coopLoadT<Sums>(&made[0], UNIT); }
        }
        for (var k = 0u; k < k8; k += DEPTH / 8u) {
            for (var e = 0u; e < DEPTH / 16u; e++) {
                // Past the end x is 0, and the last weights are repeated.
                let eight = side * (DEPTH / 16u) + e;
                let at = min(k + eight, k8 - 1u);
                let both = rows8(w_row, at);
                for (var h = 0u; h < 2u; h++) {
                    let four = select(vec4f(), x[x_row + 2u * at + h], k + eight < k8) * scaling.factor;
                    let to = LINE * part + 8u * eight + 4u * h;
                    for (var c = 0u; c < 4u; c++) {
                        left_tile[to + c] = Factor(four[c]);
                        w_tile[to + c] = Factor(both[h][c]);
                    }
                }
            }
            workgroupBarrier();
            for (var unit = 0u; unit < DEPTH; unit += UNIT) {
                for (var i = 0u; i < UNITS; i++) {
                    let r = coopLoadT<Left>(&left_tile[LINE * (quarter.top + UNIT * i) + unit], LINE);
                    for (var j = 0u; j < UNITS; j++) {
                        let c = coopLoad<Right>(&w_tile[LINE * (quarter.left + UNIT * j) + unit], LINE);
                        acc[i][j] = coopMultiplyAdd(r, c, acc[i][j]);
                    }
                }
            }
            workgroupBarrier();
        }
        for (var i = 0u; i < UNITS; i++) {
            for (var j = 0u; j < UNITS; j++) {
                coopStoreT(acc[i][j], &made[UNIT * UNIT * quarter.place], UNIT);
                workgroupBarrier();
                for (var e = local; e < 4u * UNIT * UNIT; e += 128u) {
                    let place = place_of(e, turn, subgroups, i, j);
                    let row = group.y * 64u + place.row;
                    let column = group.x * 64u + place.column;
                    if place.is_made && row < p.m && column < p.n {
                        let at = row * p.stride + p.first + column;
                        y[at] = select(0.0, y[at], p.accumulate == 1u) + to_output * made[e];
                    }
                }
                workgroupBarrier();
            }
        }
    }
}
