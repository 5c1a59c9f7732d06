// reduce_workgroup: sums and maxima over the WG invocations of a workgroup, through shared memory.

var<workgroup> reduce_scratch: array<f32, WG>;

fn wg_sum(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    reduce_scratch[lane] = value;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if lane < half { reduce_scratch[lane] += reduce_scratch[lane + half]; }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}

fn wg_max(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    reduce_scratch[lane] = value;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if lane < half { reduce_scratch[lane] = max(reduce_scratch[lane], reduce_scratch[lane + half]); }
        workgroupBarrier();
    }
    return reduce_scratch[0];
}
