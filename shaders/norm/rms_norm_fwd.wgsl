// rms_norm_fwd: y = x · rstd · w with rstd = 1/√(mean(x²) + eps). One workgroup per row.
// roles: reduce, element
// dispatch: (N)   writes: y =, rstd =   source: Zhang & Sennrich 2019, eq. 4

struct Params { n: u32, d: u32, eps: f32, accumulate: u32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       x:    array<Element>;  // (N, D)
@group(0) @binding(2) var<storage, read>       w:    array<Element>;  // (D)
@group(0) @binding(3) var<storage, read_write> y:    array<Element>;  // (N, D)
@group(0) @binding(4) var<storage, read_write> rstd: array<f32>;      // (N), kept for rms_norm_bwd

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn rms_norm_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = group.x + group.y * groups.x;
    if n >= p.n { return; }
    let d = p.d / ELEMENTS;
    let row = n * d;
    var squares = Element();
    for (var i = lane; i < d; i += WG) { squares += x[row + i] * x[row + i]; }
    let r = inverseSqrt(wg_sum(total(squares), lane) / f32(p.d) + p.eps);
    for (var i = lane; i < d; i += WG) { y[row + i] = x[row + i] * r * w[i]; }
    if lane == 0u { rstd[n] = r; }
}
