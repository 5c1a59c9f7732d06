// head_64: heads of exactly 64 columns, whose rows a lane keeps in registers.
// uses: row_lanes8

const HEAD: u32 = 64u;
