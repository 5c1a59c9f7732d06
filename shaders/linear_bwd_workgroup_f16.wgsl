// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k]. A workgroup makes 64 × 64 outputs from
// roles: rows, half
// dispatch: (K/64, M/64)   writes: dx = or +=   source: derivative of linear_fwd by its input
// tiles of 32 n as linear_bwd_workgroup does, but of f16: see linear_fwd_workgroup_f16. Gradients are often
// below f16's range; eight dy share a power of two, so they are rounded like any other values.

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

var<workgroup> dy_tile: array<vec4h, 512>;  // (8, 64): four n of a row
var<workgroup> w_tile: array<vec4h, 512>;   // (32, 16): four k of a row of w
var<workgroup> dy_power: array<f32, 256>;   // (4, 64): the power of two of eight n of a row

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
        let four = n + 2u * eight;
        let low = select(vec4f(), dy[dy_row + min(four, n4 - 1u)], four < n4);
        let high = select(vec4f(), dy[dy_row + min(four + 1u, n4 - 1u)], four + 1u < n4);
        let power = half_power(low, high);
        dy_tile[128u * eight + part] = half_of(low, power);
        dy_tile[128u * eight + part + 64u] = half_of(high, power);
        dy_power[64u * eight + part] = bitcast<f32>(power);
        w_tile[16u * w_row + 2u * w_eight] = vec4h(both[0]);
        w_tile[16u * w_row + 2u * w_eight + 1u] = vec4h(both[1]);
        workgroupBarrier();
        for (var e = 0u; e < 4u; e++) {
            let q = 128u * e;
            let c = q + tx;
            let first = mat4x4h(w_tile[c], w_tile[c + 16u], w_tile[c + 32u], w_tile[c + 48u]);
            let second = mat4x4h(w_tile[c + 64u], w_tile[c + 80u], w_tile[c + 96u], w_tile[c + 112u]);
            for (var i = 0u; i < 4u; i++) {
                let r = ty + 16u * i;
                let sums = vec4f(first * dy_tile[q + r]) + vec4f(second * dy_tile[q + r + 64u]);
                acc[i] += dy_power[64u * e + r] * sums;
            }
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
