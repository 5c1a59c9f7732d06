// branch8_lora: LoRA's way up, scale · Σ_r down[row, r] · b[n, r], of ranks that are whole eights.

const BRANCH = true;

// The factors of terms 4i to 4i + 3.
fn branch_down8(row: u32, i: u32) -> vec4f {
    return down[row * (p.rank / 4u) + i];
}

// Those of four columns of y, which are the components; a column of the matrix per term.
fn branch_up8(quad: u32, i: u32) -> mat4x4f {
    let r4 = p.rank / 4u;
    let at = 4u * quad * r4 + i;
    return p.branch_scale * transpose(mat4x4f(b[at], b[at + r4], b[at + 2u * r4], b[at + 3u * r4]));
}
