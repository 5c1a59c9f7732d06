// input_plain: element i of the input as it lies.

fn input(i: u32) -> f32 {
    return x[i];
}
