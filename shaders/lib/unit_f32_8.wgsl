// unit_f32_8: matrix units of 8 × 8 × 8 in f32.

alias Factor = f32;
alias Left = coop_mat8x8<f32, A>;
alias Right = coop_mat8x8<f32, B>;
alias Sums = coop_mat8x8<f32, C>;

const UNIT = 8u;       // rows, columns and terms of a unit
const UNITS = 4u;      // units along an edge of 32 × 32 outputs
const DEPTH = 16u;     // terms of a tile
const POWERS = false;  // whether factors have too few exponents for any f32
