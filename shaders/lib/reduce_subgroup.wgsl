// reduce_subgroup: sums and maxima where a workgroup is exactly one subgroup: no barrier, no shared
// memory.

fn wg_sum(value: f32, lane: u32) -> f32 {
    return subgroupAdd(value);
}

fn wg_max(value: f32, lane: u32) -> f32 {
    return subgroupMax(value);
}
