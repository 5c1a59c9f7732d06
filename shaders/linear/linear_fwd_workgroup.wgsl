// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] + branch[m, n].
// roles: rows, branch   uses: linear_fwd_64x64, shared_nf4
// dispatch: (N/64, M/64)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// A workgroup makes 64 × 64 outputs from tiles of 16 k in shared memory, an invocation 8 × 4: every
// 8th row, four successive columns. What the next tile needs from memory is on its way while one is
// multiplied. The branch's terms are 16 k more. Counted in docs/gpu-on-paper.md, "Tiles on paper".

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
// so that the eight invocations that store at once meet different banks.
const X_LINE = 66u;
const W_LINE = 70u;
const COLUMN = 17u;

var<workgroup> x_tile: array<vec4f, 264>;  // (4, X_LINE): four k of a row
var<workgroup> w_tile: array<vec4f, 280>;  // (4, W_LINE): four k of a column, the first of each four in front

// Adds the products of the tiles to the sums of its outputs.
fn multiply(acc: ptr<function, array<vec4f, 8>>, own: Own) {
    for (var q = 0u; q < 4u; q++) {
        let c = W_LINE * q + own.x;
        let tile = transpose(mat4x4f(
            w_tile[c], w_tile[c + COLUMN], w_tile[c + 2u * COLUMN], w_tile[c + 3u * COLUMN],
        ));
        for (var i = 0u; i < 8u; i++) {
            let v = x_tile[X_LINE * q + own.y + 8u * i];
            (*acc)[i] = fma(tile[0], v.xxxx, (*acc)[i]);
            (*acc)[i] = fma(tile[1], v.yyyy, (*acc)[i]);
            (*acc)[i] = fma(tile[2], v.zzzz, (*acc)[i]);
            (*acc)[i] = fma(tile[3], v.wwww, (*acc)[i]);
        }
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

    var next = load(rows, min(part.eight, k8 - 1u));
    rows8_begin(local);
    workgroupBarrier();
    var both = rows8_decode(next.w);

    var acc: array<vec4f, 8>;
    for (var k = 0u; k < k8; k += 2u) {
        // Past the end x is 0, and the last weights are repeated.
        let is_in = k + part.eight < k8;
        x_tile[x_to] = select(vec4f(), next.low, is_in);
        x_tile[x_to + X_LINE] = select(vec4f(), next.high, is_in);
        w_tile[w_to] = both[0];
        w_tile[w_to + W_LINE] = both[1];
        workgroupBarrier();
        next = load(rows, min(k + 2u + part.eight, k8 - 1u));
        multiply(&acc, own);
        both = rows8_decode(next.w);
        workgroupBarrier();
    }

    for (var i = 0u; i < 8u; i++) { acc[i] *= p.scale; }
    if BRANCH {
        for (var r = 0u; r < p.rank; r += 16u) {
            let first = r + 8u * part.eight;
            x_tile[x_to] = branch_down4(rows.down, first);
            x_tile[x_to + X_LINE] = branch_down4(rows.down, first + 4u);
            w_tile[w_to] = branch_up4(rows.w, first);
            w_tile[w_to + W_LINE] = branch_up4(rows.w, first + 4u);
            workgroupBarrier();
            multiply(&acc, own);
            workgroupBarrier();
        }
    }

    store(group, own, &acc);
}
