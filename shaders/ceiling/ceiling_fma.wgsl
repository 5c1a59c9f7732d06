// ceiling_fma: y = f(f(… f(x))) with f(x) = x·a + b, `turns` times. Sixteen vec4 chains.
// roles: none
// dispatch: (n / 64 / WG)   writes: y =   source: as many independent chains as hide the latency

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
    let step = p.n / 64u;
    if i >= step { return; }
    var c0 = x[i + 0u * step];
    var c1 = x[i + 1u * step];
    var c2 = x[i + 2u * step];
    var c3 = x[i + 3u * step];
    var c4 = x[i + 4u * step];
    var c5 = x[i + 5u * step];
    var c6 = x[i + 6u * step];
    var c7 = x[i + 7u * step];
    var c8 = x[i + 8u * step];
    var c9 = x[i + 9u * step];
    var c10 = x[i + 10u * step];
    var c11 = x[i + 11u * step];
    var c12 = x[i + 12u * step];
    var c13 = x[i + 13u * step];
    var c14 = x[i + 14u * step];
    var c15 = x[i + 15u * step];
    for (var turn = 0u; turn < p.turns; turn += 1u) {
        c0 = c0 * p.a + p.b; c1 = c1 * p.a + p.b; c2 = c2 * p.a + p.b; c3 = c3 * p.a + p.b;
        c4 = c4 * p.a + p.b; c5 = c5 * p.a + p.b; c6 = c6 * p.a + p.b; c7 = c7 * p.a + p.b;
        c8 = c8 * p.a + p.b; c9 = c9 * p.a + p.b; c10 = c10 * p.a + p.b; c11 = c11 * p.a + p.b;
        c12 = c12 * p.a + p.b; c13 = c13 * p.a + p.b; c14 = c14 * p.a + p.b; c15 = c15 * p.a + p.b;
    }
    y[i + 0u * step] = c0;
    y[i + 1u * step] = c1;
    y[i + 2u * step] = c2;
    y[i + 3u * step] = c3;
    y[i + 4u * step] = c4;
    y[i + 5u * step] = c5;
    y[i + 6u * step] = c6;
    y[i + 7u * step] = c7;
    y[i + 8u * step] = c8;
    y[i + 9u * step] = c9;
    y[i + 10u * step] = c10;
    y[i + 11u * step] = c11;
    y[i + 12u * step] = c12;
    y[i + 13u * step] = c13;
    y[i + 14u * step] = c14;
    y[i + 15u * step] = c15;
}
