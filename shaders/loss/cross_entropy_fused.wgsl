// cross_entropy_fused: nll = lse(logits) - logits[label]; logits become (softmax - onehot) · scale.
// roles: reduce
// dispatch: (L)   writes: nll =, logits = where p.gradient   source: Bridle 1990; maximum subtracted

struct Params { l: u32, v: u32, scale: f32, gradient: u32 }

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;  // (L, V)
@group(0) @binding(2) var<storage, read>       labels: array<u32>;  // (L), V: none
@group(0) @binding(3) var<storage, read_write> nll:    array<f32>;  // (L)

override WG: u32 = 256u;

// Each lane touches only its own elements of the row, in all passes, so storage needs no barrier.
@compute @workgroup_size(WG)
fn cross_entropy_fused(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let l = group.x + group.y * groups.x;
    if l >= p.l { return; }
    let row = l * p.v;
    let end = row + p.v;
    let label = labels[l];
    let counts = label < p.v;
    let owner = counts && label % WG == lane;
    var target_logit = 0.0;
    if owner { target_logit = logits[row + label]; }

    var most = -3.4028234e38;
    // Loops of constant length are unrolled: llvmpipe ends an invocation's loops after 65,535
    // turns.
    for (var i = row + lane; i < end; i += 8u * WG) {
        for (var j = 0u; j < 8u; j++) { most = max(most, logits[min(i + j * WG, end - 1u)]); }
    }
    most = wg_max(most, lane);

    // Partial sums of at most 128 terms keep the rounding error of a long row small.
    var sum = 0.0;
    for (var block = row + lane; block < end; block += 128u * WG) {
        var part = 0.0;
        for (var i = block; i < min(block + 128u * WG, end); i += 8u * WG) {
            for (var j = 0u; j < 8u; j++) {
                let at = i + j * WG;
                if at < end { part += exp(logits[at] - most); }
            }
        }
        sum += part;
    }
    sum = wg_sum(sum, lane);

    if p.gradient != 0u {
        let factor = select(0.0, p.scale / sum, counts);
        for (var i = row + lane; i < end; i += 8u * WG) {
            for (var j = 0u; j < 8u; j++) {
                let at = i + j * WG;
                if at < end { logits[at] = exp(logits[at] - most) * factor; }
            }
        }
        if owner { logits[row + label] -= p.scale; }
    }
    if owner {
        // One Newton step, because WGSL promises little about log.
        let guess = log(sum);
        nll[l] = (most - target_logit) + (guess + (sum * exp(-guess) - 1.0));
    }
    if lane == 0u && !counts { nll[l] = 0.0; }
}
