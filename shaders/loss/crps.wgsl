// crps: loss = w · Σ (F - H)², F and H the sums of P = softmax over the entries and of q so far.
// roles: reduce
// dispatch: (L)   writes: loss =, gradient =   source: Gneiting & Raftery 2007, eq. 20

struct Params { l: u32, v: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:        Params;
@group(0) @binding(1) var<storage, read>       logits:   array<f32>;    // (L, V)
@group(0) @binding(2) var<storage, read>       ranges:   array<u32>;    // (L + 1)
@group(0) @binding(3) var<storage, read>       entries:  array<vec2u>;  // (E): token, bits of q
@group(0) @binding(4) var<storage, read>       weights:  array<f32>;    // (L)
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>;    // (E)
@group(0) @binding(6) var<storage, read_write> loss:     array<f32>;    // (L)

override WG: u32 = 64u;

var<workgroup> parts: array<f32, WG>;

// What the lanes before this one have.
fn before(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    parts[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < lane; i++) { sum += parts[i]; }
    return sum;
}

// Each lane has entries side by side, and touches only its own; until the end `gradient` holds P.
@compute @workgroup_size(WG)
fn crps(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let l = group.x + group.y * groups.x;
    if l >= p.l { return; }
    let row = l * p.v;
    let count = ranges[l + 1u] - ranges[l];
    let each = (count + WG - 1u) / WG;
    let begin = ranges[l] + min(lane * each, count);
    let finish = ranges[l] + min((lane + 1u) * each, count);

    var most = -3.4028234e38;
    for (var e = begin; e < finish; e++) { most = max(most, logits[row + entries[e].x]); }
    most = wg_max(most, lane);
    var sum = 0.0;
    for (var e = begin; e < finish; e++) {
        let part = exp(logits[row + entries[e].x] - most);
        gradient[e] = part;
        sum += part;
    }
    sum = max(wg_sum(sum, lane), 1e-30);
    var apart = 0.0;
    for (var e = begin; e < finish; e++) {
        gradient[e] /= sum;
        apart += gradient[e] - bitcast<f32>(entries[e].y);
    }
    // F - H before this lane's entries, its squares and its sum over them.
    let first = before(apart, lane);
    var squares = 0.0;
    var own = 0.0;
    var gap = first;
    for (var e = begin; e < finish; e++) {
        gap += gradient[e] - bitcast<f32>(entries[e].y);
        squares += gap * gap;
        own += gap;
    }
    squares = wg_sum(squares, lane);
    let total = wg_sum(own, lane);
    // The entry of the largest P: slopes are measured against its own, so that nothing cancels
    // where P is nearly 1 there.
    var place = -3.4028234e38;
    for (var e = begin; e < finish; e++) {
        if logits[row + entries[e].x] == most { place = max(place, -f32(e - ranges[l])); }
    }
    let top = ranges[l] + u32(-max(wg_max(place, lane), -1e6));
    // dloss/dP[e] = 2 · the sum of F - H from e on; its mean under P is taken off.
    let ahead = total - before(own, lane);
    var rest = ahead;
    gap = first;
    var slope = 0.0;
    for (var e = begin; e < finish; e++) {
        if e == top { slope = rest; }
        gap += gradient[e] - bitcast<f32>(entries[e].y);
        rest -= gap;
    }
    slope = wg_sum(slope, lane);
    rest = ahead;
    gap = first;
    var mean = 0.0;
    for (var e = begin; e < finish; e++) {
        mean += gradient[e] * select(2.0 * (rest - slope), 0.0, e == top);
        gap += gradient[e] - bitcast<f32>(entries[e].y);
        rest -= gap;
    }
    mean = wg_sum(mean, lane);
    rest = ahead;
    gap = first;
    let factor = weights[l] * p.scale;
    for (var e = begin; e < finish; e++) {
        let share = gradient[e];
        gradient[e] = factor * share * (select(2.0 * (rest - slope), 0.0, e == top) - mean);
        gap += share - bitcast<f32>(entries[e].y);
        rest -= gap;
    }
    if lane == 0u { loss[l] = weights[l] * squares; }
}
