// branch8_none: nothing beside the product.

const BRANCH = false;

fn branch_down8(row: u32, i: u32) -> vec4f {
    return vec4f();
}

fn branch_up8(quad: u32, i: u32) -> mat4x4f {
    return mat4x4f();
}
