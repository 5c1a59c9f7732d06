// dropout: y = x · mask, or y = x · (1 - mask) for what dropout takes away.
// roles: mask
// dispatch: (n / 256)   writes: y = or +=   source: Srivastava et al. 2014
// Four elements an invocation.

struct Params { n: u32, rest: u32, accumulate: u32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<f32>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // (n)

@compute @workgroup_size(64)
fn dropout(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = ((group.x + group.y * groups.x) * 64u + lane) * 4u;
    if i >= p.n { return; }
    var factor = mask4(i);
    if p.rest != 0u { factor = vec4f(1.0) - factor; }
    for (var j = 0u; j < 4u && i + j < p.n; j++) {
        let value = x[i + j] * factor[j];
        y[i + j] = select(value, y[i + j] + value, p.accumulate != 0u);
    }
}
