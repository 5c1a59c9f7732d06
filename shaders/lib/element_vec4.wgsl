// element_vec4: arrays of whole fours, four elements at a time, so that an image gives all four at
// once: llvmpipe without AVX-512.

alias Element = vec4f;
const ELEMENTS = 4u;

fn total(values: Element) -> f32 { return values.x + values.y + values.z + values.w; }
