// head_32: heads of exactly 32 columns, whose rows a lane keeps in registers.

const HEAD: u32 = 32u;
