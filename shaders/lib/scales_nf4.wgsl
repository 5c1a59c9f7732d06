// scales_nf4: the 256 values of scale codes from the uniform `table`.

fn nf4_scale(code: u32) -> f32 {
    return table[code / 4u][code % 4u];
}
