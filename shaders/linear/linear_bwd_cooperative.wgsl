// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k], by matrix units.
// roles: rows, unit   uses: cooperative_64x64, shared_nf4
// dispatch: (K/64, M/64)   writes: dx = or +=   source: derivative of linear_fwd by its input
// A workgroup makes 64 × 64 outputs from tiles of DEPTH n as linear_fwd_cooperative does. Gradients
// are often below f16's range; where factors are f16, 64 rows of dy are over one power of two.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       dy:     array<vec4f>;      // (M, stride)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> dx:     array<f32>;        // (M, K)

const W_LINE = 72u;  // elements from a row of its tile to the next

var<workgroup> w_tile: array<Factor, DEPTH * W_LINE>;  // (DEPTH, W_LINE): 64 k of a row

@compute @workgroup_size(128)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let n4 = p.n / 4u;
    // The invocation's part of the tiles: one half of a row of dy; eight k of every 16th row of w.
    // Rows and columns past the end repeat the last ones.
    let part = local / 2u;
    let side = local % 2u;
    let dy_row = (min(group.y * 64u + part, p.m - 1u) * p.stride + p.first) / 4u;
    let eight = local / 4u % 8u;
    let w_eight = min(group.x * 8u + eight, p.k / 8u - 1u);

    rows8_begin(local);
    power_begin(local);
    var scaling = Scaling(1.0, 1.0);
    if POWERS {
        var most = vec4f();
        for (var i = side; i < n4; i += 2u) { most = max(most, abs(dy[dy_row + i])); }
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
        for (var n = 0u; n < p.n; n += DEPTH) {
            // Past the end dy is 0, and the last row of w is repeated.
            for (var f = 0u; f < DEPTH / 8u; f++) {
                let four = side * (DEPTH / 8u) + f;
                let at = n / 4u + four;
                let values = select(vec4f(), dy[dy_row + min(at, n4 - 1u)], at < n4) * scaling.factor;
                for (var c = 0u; c < 4u; c++) {
                    left_tile[LINE * part + 4u * four + c] = Factor(values[c]);
                }
            }
            for (var e = 0u; e < DEPTH / 16u; e++) {
                let row = 16u * e + local / 32u * 4u + local % 4u;
                let both = rows8(min(n + row, p.n - 1u), w_eight);
                for (var h = 0u; h < 2u; h++) {
                    for (var c = 0u; c < 4u; c++) {
                        w_tile[W_LINE * row + 8u * eight + 4u * h + c] = Factor(both[h][c]);
                    }
                }
            }
            workgroupBarrier();
            for (var unit = 0u; unit < DEPTH; unit += UNIT) {
                for (var i = 0u; i < UNITS; i++) {
                    let r = coopLoadT<Left>(&left_tile[LINE * (quarter.top + UNIT * i) + unit], LINE);
                    for (var j = 0u; j < UNITS; j++) {
                        let c = coopLoadT<Right>(&w_tile[W_LINE * unit + quarter.left + UNIT * j], W_LINE);
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
                    if place.is_made && row < p.m && column < p.k {
                        let at = row * p.k + column;
                        dx[at] = select(0.0, dx[at], p.accumulate == 1u) + to_output * made[e];
                    }
                }
                workgroupBarrier();
            }
        }
    }
}
