// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k].
// roles: rows   uses: linear_bwd_64x64, shared_nf4
// dispatch: (K/64, M/64)   writes: dx = or +=   source: derivative of linear_fwd by its input
// A workgroup makes 64 × 64 outputs from tiles of 16 n in shared memory, an invocation 8 × 4: every
// 8th row, four successive columns. What the next tile needs from memory is on its way while one is
// multiplied, as in linear_fwd_workgroup.

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

// vec4 from one line of a tile to the next: more than it has, so that the eight invocations that
// store at once meet different banks, or two of them one.
const DY_LINE = 66u;
const W_LINE = 17u;

var<workgroup> dy_tile: array<vec4f, 264>;  // (4, DY_LINE): four n of a row
var<workgroup> w_tile: array<vec4f, 272>;   // (16, W_LINE): four k of a row of w

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

    var next = load(rows, 8u * part.eight, rows.w_row);
    rows8_begin(local);
    workgroupBarrier();
    var both = rows8_decode(next.w);

    var acc: array<vec4f, 8>;
    for (var n = 0u; n < p.n; n += 16u) {
        // Past the end dy is 0, and the last row of w is repeated.
        let first = n + 8u * part.eight;
        dy_tile[dy_to] = select(vec4f(), next.low, first < p.n);
        dy_tile[dy_to + DY_LINE] = select(vec4f(), next.high, first + 4u < p.n);
        w_tile[w_to] = both[0];
        w_tile[w_to + 1u] = both[1];
        workgroupBarrier();
        next = load(rows, first + 16u, n + 16u + rows.w_row);
        for (var q = 0u; q < 4u; q++) {
            let c = 4u * W_LINE * q + own.x;
            let n0 = w_tile[c];
            let n1 = w_tile[c + W_LINE];
            let n2 = w_tile[c + 2u * W_LINE];
            let n3 = w_tile[c + 3u * W_LINE];
            for (var i = 0u; i < 8u; i++) {
                let v = dy_tile[DY_LINE * q + own.y + 8u * i];
                acc[i] = fma(n0, v.xxxx, acc[i]);
                acc[i] = fma(n1, v.yyyy, acc[i]);
                acc[i] = fma(n2, v.zzzz, acc[i]);
                acc[i] = fma(n3, v.wwww, acc[i]);
            }
        }
        both = rows8_decode(next.w);
        workgroupBarrier();
    }

    store(group, own, &acc);
}
