// branch_none: nothing beside the product.

const BRANCH = false;

fn branch_rank() -> u32 {
    return 0u;
}

fn branch_at(row: u32, n: u32, r: u32) -> f32 {
    return 0.0;
}

fn branch_down4(row: u32, r: u32) -> vec4f {
    return vec4f();
}

fn branch_up4(n: u32, r: u32) -> vec4f {
    return vec4f();
}
