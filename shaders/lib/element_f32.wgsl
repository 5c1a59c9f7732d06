// element_f32: arrays element by element.

alias Element = f32;
const ELEMENTS = 1u;

fn total(values: Element) -> f32 { return values; }
