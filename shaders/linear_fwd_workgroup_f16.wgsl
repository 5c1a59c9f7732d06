// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k]. A workgroup makes 64 × 64 outputs from
// roles: rows, half
// dispatch: (N/64, M/64)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// tiles of 32 k as linear_fwd_workgroup does, but of f16: 9 KiB of shared memory, and half the bytes read
// from it. Four products are summed in f16 and the sums in f32, which with its conversions takes as many
// instructions as f32 does; to convert every factor would take half as many again. It adds four roundings of
// 2⁻¹¹ to the two of the factors, of either sign: errors double. Eight x share a power of two, so that none
// is lost below f16's range; weights are taken as they are, up to ±8,000.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> y:      array<f32>;        // (M, stride)

var<workgroup> x_tile: array<vec4h, 512>;  // (8, 64): four k of a row
var<workgroup> w_tile: array<vec4h, 512>;  // (8, 64): four k of a column of y
var<workgroup> x_power: array<f32, 256>;   // (4, 64): the power of two of eight k of a row

@compute @workgroup_size(256)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let k8 = p.k / 8u;
    let tx = local % 16u;
    let ty = local / 16u;

    // The invocation's part of the tiles: eight k of one row of x and of one row of w. Rows past the end
    // repeat the last one; only the stores are guarded. Four rows side by side, as NF4 quads lie.
    let part = 4u * ty + local % 4u;
    let eight = local / 4u % 4u;
    let x_row = min(group.y * 64u + part, p.m - 1u) * 2u * k8;
    let w_row = min(group.x * 64u + part, p.n - 1u);

    var acc: array<vec4f, 4>;
    for (var k = 0u; k < k8; k += 4u) {
        // Past the end x is 0, and the last weights are repeated.
        let at = min(k + eight, k8 - 1u);
        let is_in = k + eight < k8;
        let both = rows8(w_row, at);
        let low = select(vec4f(), x[x_row + 2u * at], is_in);
        let high = select(vec4f(), x[x_row + 2u * at + 1u], is_in);
        let power = half_power(low, high);
        let to = 128u * eight + part;
        x_tile[to] = half_of(low, power);
        x_tile[to + 64u] = half_of(high, power);
        x_power[64u * eight + part] = bitcast<f32>(power);
        w_tile[to] = vec4h(both[0]);
        w_tile[to + 64u] = vec4h(both[1]);
        workgroupBarrier();
        for (var e = 0u; e < 4u; e++) {
            let q = 128u * e;
            let c = q + tx;
            let first = mat4x4h(w_tile[c], w_tile[c + 16u], w_tile[c + 32u], w_tile[c + 48u]);
            let second = mat4x4h(w_tile[c + 64u], w_tile[c + 80u], w_tile[c + 96u], w_tile[c + 112u]);
            for (var i = 0u; i < 4u; i++) {
                let r = ty + 16u * i;
                let sums = vec4f(x_tile[q + r] * first) + vec4f(x_tile[q + r + 64u] * second);
                acc[i] += x_power[64u * e + r] * sums;
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i++) {
        let r = group.y * 64u + ty + 16u * i;
        for (var j = 0u; j < 4u; j++) {
            let c = group.x * 64u + tx + 16u * j;
            if r < p.m && c < p.n {
                let at = r * p.stride + p.first + c;
                y[at] = select(0.0, y[at], p.accumulate == 1u) + p.scale * acc[i][j];
            }
        }
    }
}
