// input4_plain: elements 4i to 4i+3 of the input as they lie.

fn input4(i: u32) -> vec4f {
    return x[i];
}
