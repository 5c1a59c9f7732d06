// unit_f16_16: matrix units of 16 × 16 × 16 that multiply f16 and add f32.

alias Factor = f16;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

const UNIT = 16u;     // rows, columns and terms of a unit
const UNITS = 2u;     // units along an edge of 32 × 32 outputs
const DEPTH = 32u;    // terms of a tile
const POWERS = true;  // whether factors have too few exponents for any f32
