// unit_f16_8: matrix units of 8 × 8 × 8 that multiply f16 and add f32.

alias Factor = f16;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;

const UNIT = 8u;      // rows, columns and terms of a unit
const UNITS = 4u;     // units along an edge of 32 × 32 outputs
const DEPTH = 32u;    // terms of a tile
const POWERS = true;  // whether factors have too few exponents for any f32
