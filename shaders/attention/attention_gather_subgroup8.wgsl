// attention_gather: y = softmax(q·kᵀ/√E)·v over listed keys.
// roles: head
// dispatch: (N·G·⌈(H/G)/4⌉)   writes: y =   source: Dao 2023 (FlashAttention-2), alg. 1
// A subgroup of 8 lanes makes up to four heads of one row that share a head of keys. A lane scores
// one of eight keys at a time, and sums its share of the columns of v; so every load is a vector of
// four that all of the subgroup's heads use.

struct Params { rows: u32, listed: u32, slots: u32, heads: u32, kv_heads: u32, e: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       q:     array<vec4f>;  // (N, H·E)
@group(0) @binding(2) var<storage, read>       k:     array<vec4f>;  // (C, G·E)
@group(0) @binding(3) var<storage, read>       v:     array<vec4f>;  // (C, G·E)
@group(0) @binding(4) var<storage, read>       index: array<u32>;    // (N, S); no slot: end
@group(0) @binding(5) var<storage, read_write> y:     array<vec4f>;  // (N, H·E)

const HEADS = 4u;           // of an invocation
const FOURS = HEAD / 32u;   // vectors of columns of a lane
const LOWEST = -3.0e38;

@compute @workgroup_size(8)
fn attention_gather(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x + group.y * groups.x;
    let shared_by = p.heads / p.kv_heads;
    let parts = (shared_by + HEADS - 1u) / HEADS;
    let first = i % parts * HEADS;
    let g = i / parts % p.kv_heads;
    let n = i / parts / p.kv_heads;
    if n >= p.rows { return; }
    let stride = p.kv_heads * (HEAD / 4u);
    let column = g * (HEAD / 4u);

    // Heads beyond the last repeat it and are not stored.
    var head_at: array<u32, HEADS>;
    var row_q: array<array<vec4f, FOURS>, HEADS>;
    for (var h = 0u; h < HEADS; h++) {
        let head = n * p.heads + g * shared_by + min(first + h, shared_by - 1u);
        head_at[h] = head * (HEAD / 4u) + lane * FOURS;
        for (var c = 0u; c < FOURS; c++) { row_q[h][c] = q[head_at[h] + c] * p.scale; }
    }

    var acc: array<array<vec4f, FOURS>, HEADS>;
    var top: array<f32, HEADS>;
    var sum: array<f32, HEADS>;  // of the lane's keys
    for (var h = 0u; h < HEADS; h++) { top[h] = LOWEST; }
    var is_open = true;  // no list ends among the keys before
    for (var s = 0u; s < p.listed; s += 8u) {
        let lead = index[n * p.listed + s];
        if lead >= p.slots { break; }
        let listed = index[n * p.listed + min(s + lane, p.listed - 1u)];
        let is_slot = is_open && s + lane < p.listed && listed < p.slots;
        let end = subgroupMin(select(lane, 8u, is_slot));
        is_open = end == 8u;
        // Behind the end the first key is read again and weighs nothing.
        let is_key = lane < end;
        let slot = select(lead, listed, is_key);

        var score = array<f32, HEADS>();
        for (var j = 0u; j < HEAD / 4u; j++) {
            let key = k[slot * stride + column + j];
            for (var h = 0u; h < HEADS; h++) {
                score[h] += dot(key, subgroupShuffle(row_q[h][j % FOURS], j / FOURS));
            }
        }
        var weight: array<f32, HEADS>;
        for (var h = 0u; h < HEADS; h++) {
            let here = select(LOWEST, score[h], is_key);
            let higher = max(top[h], subgroupMax(here));
            let keep = exp(top[h] - higher);
            weight[h] = select(0.0, exp(here - higher), is_key);
            top[h] = higher;
            sum[h] = sum[h] * keep + weight[h];
            for (var c = 0u; c < FOURS; c++) { acc[h][c] *= keep; }
        }
        for (var t = 0u; t < 8u; t++) {
            let v_at = subgroupShuffle(slot, t) * stride + column + lane * FOURS;
            for (var c = 0u; c < FOURS; c++) {
                let value = v[v_at + c];
                for (var h = 0u; h < HEADS; h++) {
                    acc[h][c] += subgroupShuffle(weight[h], t) * value;
                }
            }
        }
    }

    for (var h = 0u; h < HEADS; h++) {
        let total = subgroupAdd(sum[h]);
        if first + h < shared_by {
            for (var c = 0u; c < FOURS; c++) {
                y[head_at[h] + c] = select(vec4f(), acc[h][c] / total, total > 0.0);
            }
        }
    }
}
