// soft_target: loss = w · Σ q·(logits[label] - logits[token]); gradient = w · scale · (onehot - q).
// roles: reduce
// dispatch: (L)   writes: loss =, gradient =   source: Szegedy et al. 2016, sec. 7

struct Params { l: u32, v: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:        Params;
@group(0) @binding(1) var<storage, read>       logits:   array<f32>;    // (L, V)
@group(0) @binding(2) var<storage, read>       labels:   array<u32>;    // (L)
@group(0) @binding(3) var<storage, read>       ranges:   array<u32>;    // (L + 1)
@group(0) @binding(4) var<storage, read>       entries:  array<vec2u>;  // (E): token, bits of q
@group(0) @binding(5) var<storage, read>       weights:  array<f32>;    // (L)
@group(0) @binding(6) var<storage, read_write> gradient: array<f32>;    // (E)
@group(0) @binding(7) var<storage, read_write> loss:     array<f32>;    // (L)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn soft_target(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let l = group.x + group.y * groups.x;
    if l >= p.l { return; }
    let row = l * p.v;
    let label = labels[l];
    let weight = weights[l];
    var sum = 0.0;
    let end = ranges[l + 1u];
    if ranges[l] < end {
        let own = logits[row + label];
        for (var e = ranges[l] + lane; e < end; e += WG) {
            let entry = entries[e];
            let q = bitcast<f32>(entry.y);
            sum += q * (own - logits[row + entry.x]);
            gradient[e] = weight * p.scale * (select(0.0, 1.0, entry.x == label) - q);
        }
    }
    sum = wg_sum(sum, lane);
    if lane == 0u { loss[l] = weight * sum; }
}
