// ceiling_fma: y = f(f(… f(x))) with f(x) = x·a + b, `turns` times. Sixteen vec4 chains of f16.
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
    var c0 = vec4h(x[i + 0u * step]);
    var c1 = vec4h(x[i + 1u * step]);
    var c2 = vec4h(x[i + 2u * step]);
    var c3 = vec4h(x[i + 3u * step]);
    var c4 = vec4h(x[i + 4u * step]);
    var c5 = vec4h(x[i + 5u * step]);
    var c6 = vec4h(x[i + 6u * step]);
    var c7 = vec4h(x[i + 7u * step]);
    var c8 = vec4h(x[i + 8u * step]);
    var c9 = vec4h(x[i + 9u * step]);
    var c10 = vec4h(x[i + 10u * step]);
    var c11 = vec4h(x[i + 11u * step]);
    var c12 = vec4h(x[i + 12u * step]);
    var c13 = vec4h(x[i + 13u * step]);
    var c14 = vec4h(x[i + 14u * step]);
    var c15 = vec4h(x[i + 15u * step]);
    let a = f16(p.a);
    let b = f16(p.b);
    for (var turn = 0u; turn < p.turns; turn += 1u) {
        c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b; c3 = c3 * a + b;
        c4 = c4 * a + b; c5 = c5 * a + b; c6 = c6 * a + b; c7 = c7 * a + b;
        c8 = c8 * a + b; c9 = c9 * a + b; c10 = c10 * a + b; c11 = c11 * a + b;
        c12 = c12 * a + b; c13 = c13 * a + b; c14 = c14 * a + b; c15 = c15 * a + b;
    }
    y[i + 0u * step] = vec4f(c0);
    y[i + 1u * step] = vec4f(c1);
    y[i + 2u * step] = vec4f(c2);
    y[i + 3u * step] = vec4f(c3);
    y[i + 4u * step] = vec4f(c4);
    y[i + 5u * step] = vec4f(c5);
    y[i + 6u * step] = vec4f(c6);
    y[i + 7u * step] = vec4f(c7);
    y[i + 8u * step] = vec4f(c8);
    y[i + 9u * step] = vec4f(c9);
    y[i + 10u * step] = vec4f(c10);
    y[i + 11u * step] = vec4f(c11);
    y[i + 12u * step] = vec4f(c12);
    y[i + 13u * step] = vec4f(c13);
    y[i + 14u * step] = vec4f(c14);
    y[i + 15u * step] = vec4f(c15);
}
