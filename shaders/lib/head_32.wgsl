// head_32: heads of exactly 32 columns, whose rows a lane keeps in registers.
// uses: row_lanes8

const HEAD: u32 = 32u;
