// rms_norm_bwd: dx (+)= rstd · (w∘dy − x · rstd² · mean(x∘w∘dy)). One workgroup per row.
// roles: reduce, element
// dispatch: (N)   writes: dx = or +=   source: derivative of Zhang & Sennrich 2019, eq. 4

struct Params { n: u32, d: u32, eps: f32, accumulate: u32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       x:    array<Element>;  // (N, D)
@group(0) @binding(2) var<storage, read>       w:    array<Element>;  // (D)
@group(0) @binding(3) var<storage, read>       rstd: array<f32>;      // (N), from rms_norm_fwd
@group(0) @binding(4) var<storage, read>       dy:   array<Element>;  // (N, D)
@group(0) @binding(5) var<storage, read_write> dx:   array<Element>;  // (N, D)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn rms_norm_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = group.x + group.y * groups.x;
    if n >= p.n { return; }
    let d = p.d / ELEMENTS;
    let row = n * d;
    var sum = Element();
    for (var i = lane; i < d; i += WG) { sum += x[row + i] * w[i] * dy[row + i]; }
    let r = rstd[n];
    let mean = wg_sum(total(sum), lane) / f32(p.d) * r * r;
    for (var i = lane; i < d; i += WG) {
        var before = Element();
        if p.accumulate == 1u { before = dx[row + i]; }
        dx[row + i] = before + r * (w[i] * dy[row + i] - x[row + i] * mean);
    }
}
