// branch_lora: LoRA's way up, scale · Σ_r down[row, r] · b[n, r].

const BRANCH = true;

fn branch_rank() -> u32 {
    return p.rank;
}

// Its term r.
fn branch_at(row: u32, n: u32, r: u32) -> f32 {
    return p.branch_scale * down[row * p.rank + r] * b[n * p.rank + r];
}

// The factors of terms r to r + 3, those past the end 0.
fn branch_down4(row: u32, r: u32) -> vec4f {
    let term = vec4u(r, r + 1u, r + 2u, r + 3u);
    let i = row * p.rank + min(term, vec4u(p.rank - 1u));
    return select(vec4f(), vec4f(down[i.x], down[i.y], down[i.z], down[i.w]), term < vec4u(p.rank));
}

// Past the end the last one again.
fn branch_up4(n: u32, r: u32) -> vec4f {
    let i = n * p.rank + min(vec4u(r, r + 1u, r + 2u, r + 3u), vec4u(p.rank - 1u));
    return p.branch_scale * vec4f(b[i.x], b[i.y], b[i.z], b[i.w]);
}
