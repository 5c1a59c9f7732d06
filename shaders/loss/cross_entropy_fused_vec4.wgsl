// cross_entropy_fused: nll = lse(logits) - logits[label]; logits become (softmax - onehot) · scale.
// roles: reduce
// dispatch: (L)   writes: nll =, logits = where p.gradient   source: Bridle 1990; maximum subtracted
// Against the baseline an invocation takes four elements at a time, so that an image gives it all
// four at once: llvmpipe without AVX-512.

struct Params { l: u32, v: u32, scale: f32, gradient: u32 }

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read_write> logits: array<vec4f>;  // (L, V)
@group(0) @binding(2) var<storage, read>       labels: array<u32>;    // (L), V: none
@group(0) @binding(3) var<storage, read_write> nll:    array<f32>;    // (L)

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
    let v4 = p.v / 4u;
    let row = l * v4;
    let label = labels[l];
    let counts = label < p.v;
    let owner = counts && label / 4u % WG == lane;
    var target_logit = 0.0;
    if owner { target_logit = logits[row + label / 4u][label % 4u]; }

    var each = vec4f(-3.4028234e38);
    for (var i = lane; i < v4; i += WG) { each = max(each, logits[row + i]); }
    let most = wg_max(max(max(each.x, each.y), max(each.z, each.w)), lane);

    // Partial sums of at most 128 terms keep the rounding error of a long row small.
    var sums = vec4f();
    for (var block = lane; block < v4; block += 128u * WG) {
        var part = vec4f();
        for (var i = block; i < min(block + 128u * WG, v4); i += WG) { part += exp(logits[row + i] - most); }
        sums += part;
    }
    let sum = wg_sum(sums.x + sums.y + sums.z + sums.w, lane);

    if p.gradient != 0u {
        let factor = select(0.0, p.scale / sum, counts);
        for (var i = lane; i < v4; i += WG) {
            let hot = select(vec4f(), vec4f(p.scale), vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) == vec4u(label));
            logits[row + i] = exp(logits[row + i] - most) * factor - hot;
        }
    }
    if owner {
        // One Newton step, because WGSL promises little about log.
        let guess = log(sum);
        nll[l] = (most - target_logit) + (guess + (sum * exp(-guess) - 1.0));
    }
    if lane == 0u && !counts { nll[l] = 0.0; }
}
