// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] + branch[m, n].
// roles: rows, branch   uses: linear_fwd_64x64, shared_nf4, half_eights
// dispatch: (N/64, M/64)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// A workgroup makes 64 × 64 outputs from tiles of 16 k as linear_fwd_workgroup does, but of f16:
// half the bytes of shared memory held and read. Four products are summed in f16 and the sums in
// f32, which with its conversions takes as many instructions as f32 does; to convert every factor
// would take half as many again. It adds four roundings of 2⁻¹¹ to the two of the factors, of
// either sign: errors double. Eight x share a power of two, so that none is lost below f16's range,
// and eight factors of the branch do; weights are taken as they are, up to ±8,000.

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
@group(0) @binding(6) var<storage, read>       down:   array<f32>;        // (M, R)
@group(0) @binding(7) var<storage, read>       b:      array<f32>;        // (N, R)
@group(0) @binding(8) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

// vec4 from four k to the next four of a tile, and from a column to the next: more than are used,
// so that the sixteen invocations that store at once meet different banks.
const X_LINE = 68u;
const W_LINE = 76u;
const COLUMN = 18u;

var<workgroup> x_tile: array<vec4h, 272>;  // (4, X_LINE): four k of a row
var<workgroup> w_tile: array<vec4h, 304>;  // (4, W_LINE): four k of a column, the first of each four in front
var<workgroup> x_power: array<f32, 128>;   // (2, 64): the power of two of eight k of a row
var<workgroup> b_power: array<f32, 128>;   // (2, 64): the same of a column, for the branch

// What was loaded as the tiles hold it: f16, the eight x over a power of two, or 0 past the end.
struct Halves { low: vec4h, high: vec4h, power: f32, w: mat2x4h }

fn halves(loaded: Loaded, is_in: bool) -> Halves {
    let low = select(vec4f(), loaded.low, is_in);
    let high = select(vec4f(), loaded.high, is_in);
    let power = half_power(low, high);
    let eight = rows8_decode(loaded.w);
    return Halves(
        half_of(low, power), half_of(high, power), bitcast<f32>(power),
        mat2x4h(vec4h(eight[0]), vec4h(eight[1])),
    );
}

// Adds the products of eight k of the tiles to the sums of its outputs, which have these powers.
fn multiply(acc: ptr<function, array<vec4f, 8>>, own: Own, e: u32, powers: vec4f) {
    let q = 2u * X_LINE * e;
    let c = 2u * W_LINE * e + own.x;
    let d = c + W_LINE;
    let first = mat4x4h(
        w_tile[c], w_tile[c + COLUMN], w_tile[c + 2u * COLUMN], w_tile[c + 3u * COLUMN],
    );
    let second = mat4x4h(
        w_tile[d], w_tile[d + COLUMN], w_tile[d + 2u * COLUMN], w_tile[d + 3u * COLUMN],
    );
    for (var i = 0u; i < 8u; i++) {
        let r = own.y + 8u * i;
        let sums = vec4f(x_tile[q + r] * first) + vec4f(x_tile[q + r + X_LINE] * second);
        (*acc)[i] = fma(x_power[64u * e + r] * powers, sums, (*acc)[i]);
    }
}

@compute @workgroup_size(128)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let k8 = p.k / 8u;
    let own = own_of(local);
    let part = part_of(local);
    let rows = rows_of(group, part);
    let x_to = 2u * X_LINE * part.eight + part.row;
    let w_to = 2u * W_LINE * part.eight + COLUMN * (part.row % 4u) + part.row / 4u;

    let begin = load(rows, min(part.eight, k8 - 1u));
    rows8_begin(local);
    workgroupBarrier();
    var next = halves(begin, part.eight < k8);

    var acc: array<vec4f, 8>;
    for (var k = 0u; k < k8; k += 2u) {
        x_tile[x_to] = next.low;
        x_tile[x_to + X_LINE] = next.high;
        x_power[64u * part.eight + part.row] = next.power;
        w_tile[w_to] = next.w[0];
        w_tile[w_to + W_LINE] = next.w[1];
        workgroupBarrier();
        // Past the end x is 0, and the last weights are repeated.
        let at = k + 2u + part.eight;
        let loaded = load(rows, min(at, k8 - 1u));
        for (var e = 0u; e < 2u; e++) { multiply(&acc, own, e, vec4f(1.0)); }
        next = halves(loaded, at < k8);
        workgroupBarrier();
    }

    for (var i = 0u; i < 8u; i++) { acc[i] *= p.scale; }
    if BRANCH {
        for (var r = 0u; r < p.rank; r += 16u) {
            let at = r + 8u * part.eight;
            let low = branch_down4(rows.down, at);
            let high = branch_down4(rows.down, at + 4u);
            let up_low = branch_up4(rows.w, at);
            let up_high = branch_up4(rows.w, at + 4u);
            let power = half_power(low, high);
            let up_power = half_power(up_low, up_high);
            x_tile[x_to] = half_of(low, power);
            x_tile[x_to + X_LINE] = half_of(high, power);
            x_power[64u * part.eight + part.row] = bitcast<f32>(power);
            w_tile[w_to] = half_of(up_low, up_power);
            w_tile[w_to + W_LINE] = half_of(up_high, up_power);
            b_power[64u * part.eight + part.row] = bitcast<f32>(up_power);
            workgroupBarrier();
            for (var e = 0u; e < 2u; e++) {
                let i = 64u * e + 4u * own.x;
                let powers = vec4f(b_power[i], b_power[i + 1u], b_power[i + 2u], b_power[i + 3u]);
                multiply(&acc, own, e, powers);
            }
            workgroupBarrier();
        }
    }

    store(group, own, &acc);
}
