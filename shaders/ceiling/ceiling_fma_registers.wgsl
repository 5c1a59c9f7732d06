// ceiling_fma: y = f(f(… f(x))) with f(x) = x·a + b, `turns` times.
// roles: none
// dispatch: (n / 12 / WG)   writes: y =   source: as many independent chains as hide the latency
// Three chains: 16 registers of a CPU.

struct Params { n: u32, turns: u32, a: f32, b: f32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<vec4f>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;  // (n)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn ceiling_fma(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    let step = p.n / 12u;
    if i >= step { return; }
    var c0 = x[i + 0u * step];
    var c1 = x[i + 1u * step];
    var c2 = x[i + 2u * step];
    for (var turn = 0u; turn < p.turns; turn += 8u) {
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b;
    }
    y[i + 0u * step] = c0;
    y[i + 1u * step] = c1;
    y[i + 2u * step] = c2;
}
