// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k].
// roles: rows   uses: linear_bwd_64x64, shared_nf4, half_eights
// dispatch: (K/64, M/64)   writes: dx = or +=   source: derivative of linear_fwd by its input
// A workgroup makes 64 × 64 outputs from tiles of 16 n as linear_bwd_workgroup does, but of f16:
// see linear_fwd_workgroup_f16. Gradients are often below f16's range; eight dy share a power of
// two, so they are rounded like any other values.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       dy:     array<vec4f>;      // (M, stride)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> dx:     array<vec4f>;      // (M, K)

// vec4 from one line of a tile to the next: more than it has, so that the sixteen invocations that
// store at once meet different banks, or two of them one.
const DY_LINE = 68u;
const W_LINE = 17u;

var<workgroup> dy_tile: array<vec4h, 272>;  // (4, DY_LINE): four n of a row
var<workgroup> w_tile: array<vec4h, 272>;   // (16, W_LINE): four k of a row of w
var<workgroup> dy_power: array<f32, 128>;   // (2, 64): the power of two of eight n of a row

// What was loaded as the tiles hold it: f16, the eight dy over a power of two, or 0 past the end.
struct Halves { low: vec4h, high: vec4h, power: f32, w: mat2x4h }

fn halves(loaded: Loaded, n: u32) -> Halves {
    let low = select(vec4f(), loaded.low, n < p.n);
    let high = select(vec4f(), loaded.high, n + 4u < p.n);
    let power = half_power(low, high);
    let w = rows8_decode(loaded.w);
    return Halves(
        half_of(low, power), half_of(high, power), bitcast<f32>(power),
        mat2x4h(vec4h(w[0]), vec4h(w[1])),
    );
}

@compute @workgroup_size(128)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let own = own_of(local);
    let part = part_of(local);
    let rows = rows_of(group, local);
    let dy_to = 2u * DY_LINE * part.eight + part.row;
    let w_to = W_LINE * rows.w_row + 2u * rows.eight;

    let begin = load(rows, 8u * part.eight, rows.w_row);
    rows8_begin(local);
    workgroupBarrier();
    var next = halves(begin, 8u * part.eight);

    var acc: array<vec4f, 8>;
    for (var n = 0u; n < p.n; n += 16u) {
        dy_tile[dy_to] = next.low;
        dy_tile[dy_to + DY_LINE] = next.high;
        dy_power[64u * part.eight + part.row] = next.power;
        w_tile[w_to] = next.w[0];
        w_tile[w_to + 1u] = next.w[1];
        workgroupBarrier();
        // Past the end dy is 0, and the last row of w is repeated.
        let first_n = n + 16u + 8u * part.eight;
        let loaded = load(rows, first_n, n + 16u + rows.w_row);
        for (var e = 0u; e < 2u; e++) {
            let q = 2u * DY_LINE * e;
            let c = 8u * W_LINE * e + own.x;
            let d = c + 4u * W_LINE;
            let first = mat4x4h(
                w_tile[c], w_tile[c + W_LINE], w_tile[c + 2u * W_LINE], w_tile[c + 3u * W_LINE],
            );
            let second = mat4x4h(
                w_tile[d], w_tile[d + W_LINE], w_tile[d + 2u * W_LINE], w_tile[d + 3u * W_LINE],
            );
            for (var i = 0u; i < 8u; i++) {
                let r = own.y + 8u * i;
                let sums = vec4f(first * dy_tile[q + r]) + vec4f(second * dy_tile[q + r + DY_LINE]);
                acc[i] = fma(vec4f(dy_power[64u * e + r]), sums, acc[i]);
            }
        }
        next = halves(loaded, first_n);
        workgroupBarrier();
    }

    store(group, own, &acc);
}
