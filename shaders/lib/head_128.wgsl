// head_128: heads of exactly 128 columns, whose rows a lane keeps in registers.
// uses: row_lanes8

const HEAD: u32 = 128u;
