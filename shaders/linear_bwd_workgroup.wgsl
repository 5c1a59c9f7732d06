// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k]. A workgroup makes 64 × 64 outputs from
// roles: rows
// dispatch: (K/64, M/64)   writes: dx = or +=   source: derivative of linear_fwd by its input
// tiles of 32 n in 16 KiB of shared memory, an invocation 4 × 4: every 16th row, four successive columns.

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

var<workgroup> dy_tile: array<vec4f, 512>;  // (8, 64): four n of a row
var<workgroup> w_tile: array<vec4f, 512>;   // (32, 16): four k of a row of w

@compute @workgroup_size(256)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let n4 = p.n / 4u;
    let k8 = p.k / 8u;
    let tx = local % 16u;
    let ty = local / 16u;

    // The invocation's part of the tiles: eight n of one row of dy, and eight k of one row of w. Rows and
    // columns past the end repeat the last ones; only the stores are guarded. Four rows side by side, as
    // NF4 quads lie.
    let part = 4u * ty + local % 4u;
    let eight = local / 4u % 4u;
    let dy_row = (min(group.y * 64u + part, p.m - 1u) * p.stride + p.first) / 4u;
    let w_row = local / 32u * 4u + local % 4u;
    let w_eight = local / 4u % 8u;
    let w_at = min(group.x * 8u + w_eight, k8 - 1u);

    var acc: array<vec4f, 4>;
    for (var n = 0u; n < n4; n += 8u) {
        // Past the end dy is 0, and the last row of w is repeated.
        let both = rows8(min(4u * n + w_row, p.n - 1u), w_at);
        for (var h = 0u; h < 2u; h++) {
            let q = 2u * eight + h;
            dy_tile[64u * q + part] = select(vec4f(), dy[dy_row + min(n + q, n4 - 1u)], n + q < n4);
            w_tile[16u * w_row + 2u * w_eight + h] = both[h];
        }
        workgroupBarrier();
        for (var q = 0u; q < 512u; q += 64u) {
            let tile = mat4x4f(
                w_tile[q + tx], w_tile[q + tx + 16u], w_tile[q + tx + 32u], w_tile[q + tx + 48u],
            );
            for (var i = 0u; i < 4u; i++) { acc[i] += tile * dy_tile[q + ty + 16u * i]; }
        }
        workgroupBarrier();
    }

    let column = group.x * 16u + tx;
    for (var i = 0u; i < 4u; i++) {
        let r = group.y * 64u + ty + 16u * i;
        if r < p.m && column < 2u * k8 {
            let at = r * 2u * k8 + column;
            if p.accumulate == 1u {
                dx[at] += p.scale * acc[i];
            } else {
                dx[at] = p.scale * acc[i];
            }
        }
    }
}
