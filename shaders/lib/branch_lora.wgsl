// branch_lora: term r of LoRA's way up, scale · Σ_r down[row, r] · b[n, r].

fn branch_rank() -> u32 {
    return p.rank;
}

fn branch_at(row: u32, n: u32, r: u32) -> f32 {
    return p.branch_scale * down[row * p.rank + r] * b[n * p.rank + r];
}
