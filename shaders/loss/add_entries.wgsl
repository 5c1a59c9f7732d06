// add_entries: logits[l, token] += gradient of each entry of row l; nll[l] += loss[l].
// roles: none
// dispatch: (L)   writes: logits +=, nll +=   source: addition

struct Params { l: u32, v: u32 }

@group(0) @binding(0) var<uniform>             p:        Params;
@group(0) @binding(1) var<storage, read>       ranges:   array<u32>;    // (L + 1)
@group(0) @binding(2) var<storage, read>       entries:  array<vec2u>;  // (E): token, bits of q
@group(0) @binding(3) var<storage, read>       gradient: array<f32>;    // (E)
@group(0) @binding(4) var<storage, read>       loss:     array<f32>;    // (L)
@group(0) @binding(5) var<storage, read_write> logits:   array<f32>;    // (L, V)
@group(0) @binding(6) var<storage, read_write> nll:      array<f32>;    // (L)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn add_entries(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let l = group.x + group.y * groups.x;
    if l >= p.l { return; }
    let row = l * p.v;
    let end = ranges[l + 1u];
    for (var e = ranges[l] + lane; e < end; e += WG) { logits[row + entries[e].x] += gradient[e]; }
    if lane == 0u { nll[l] += loss[l]; }
}
