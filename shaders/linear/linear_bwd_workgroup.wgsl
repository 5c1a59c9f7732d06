// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k]. A workgroup makes 64 × 64 outputs from
// roles: rows   uses: shared_nf4
// dispatch: (K/64, M/64)   writes: dx = or +=   source: derivative of linear_fwd by its input
// tiles of 16 n in shared memory, an invocation 8 × 4: every 8th row, four successive columns. What the next
// tile needs from memory is on its way while one is multiplied, as in linear_fwd_workgroup.

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

// vec4 from one line of a tile to the next: more than it has, so that the eight invocations that store at
// once meet different banks, or two of them one.
const DY_LINE = 66u;
const W_LINE = 17u;

var<workgroup> dy_tile: array<vec4f, 264>;  // (4, DY_LINE): four n of a row
var<workgroup> w_tile: array<vec4f, 272>;   // (16, W_LINE): four k of a row of w

// What an invocation loads for a tile: eight n of a row of dy, and eight k of a row of w as it is stored.
struct Loaded { low: vec4f, high: vec4f, w: Rows8 }

fn load(dy_row: u32, w_at: u32, n: u32, w_row: u32) -> Loaded {
    let four = min(n / 4u, p.n / 4u - 1u);
    let next = min(n / 4u + 1u, p.n / 4u - 1u);
    return Loaded(dy[dy_row + four], dy[dy_row + next], rows8_load(min(w_row, p.n - 1u), w_at));
}

@compute @workgroup_size(128)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let k8 = p.k / 8u;
    // Squares of 2 × 2 outputs lie in four neighbouring invocations, so that any eight of them read at most
    // four words of a tile.
    let tx = local % 2u + local / 4u % 8u * 2u;
    let ty = local / 2u % 2u + local / 32u * 2u;

    // The invocation's part of the tiles: eight n of one row of dy, and eight k of one row of w. Rows and
    // columns past the end repeat the last ones; only the stores are guarded. Four rows side by side, as
    // NF4 quads lie.
    let part = local / 8u * 4u + local % 4u;
    let eight = local / 4u % 2u;
    let dy_row = (min(group.y * 64u + part, p.m - 1u) * p.stride + p.first) / 4u;
    let w_row = local / 32u * 4u + local % 4u;
    let w_eight = local / 4u % 8u;
    let w_at = min(group.x * 8u + w_eight, k8 - 1u);
    let dy_to = 2u * DY_LINE * eight + part;
    let w_to = W_LINE * w_row + 2u * w_eight;

    var next = load(dy_row, w_at, 8u * eight, w_row);
    rows8_begin(local);
    workgroupBarrier();
    var both = rows8_decode(next.w);

    var acc: array<vec4f, 8>;
    for (var n = 0u; n < p.n; n += 16u) {
        // Past the end dy is 0, and the last row of w is repeated.
        let first = n + 8u * eight;
        dy_tile[dy_to] = select(vec4f(), next.low, first < p.n);
        dy_tile[dy_to + DY_LINE] = select(vec4f(), next.high, first + 4u < p.n);
        w_tile[w_to] = both[0];
        w_tile[w_to + 1u] = both[1];
        workgroupBarrier();
        next = load(dy_row, w_at, first + 16u, n + 16u + w_row);
        for (var q = 0u; q < 4u; q++) {
            let c = 4u * W_LINE * q + tx;
            let n0 = w_tile[c];
            let n1 = w_tile[c + W_LINE];
            let n2 = w_tile[c + 2u * W_LINE];
            let n3 = w_tile[c + 3u * W_LINE];
            for (var i = 0u; i < 8u; i++) {
                let v = dy_tile[DY_LINE * q + ty + 8u * i];
                acc[i] = fma(n0, v.xxxx, acc[i]);
                acc[i] = fma(n1, v.yyyy, acc[i]);
                acc[i] = fma(n2, v.zzzz, acc[i]);
                acc[i] = fma(n3, v.wwww, acc[i]);
            }
        }
        both = rows8_decode(next.w);
        workgroupBarrier();
    }

    let k4 = p.k / 4u;
    let row = group.y * 64u + ty;
    let column = group.x * 16u + tx;
    for (var i = 0u; i < 8u; i++) { acc[i] *= p.scale; }
    if p.accumulate == 1u {
        // No row waits for another one's load; those past the end are not stored.
        for (var i = 0u; i < 8u; i++) {
            acc[i] += dx[min(row + 8u * i, p.m - 1u) * k4 + min(column, k4 - 1u)];
        }
    }
    for (var i = 0u; i < 8u; i++) {
        let r = row + 8u * i;
        if r < p.m && column < k4 { dx[r * k4 + column] = acc[i]; }
    }
}
