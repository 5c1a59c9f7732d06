// tile_64x64: what each of 128 invocations makes of 64 × 64 outputs: rows y, y + 8, …, y + 56, and
// columns 4x to 4x+3. Squares of 2 × 2 (x, y) lie in four neighbouring invocations, so that any
// eight of them read at most four words of a tile in shared memory.

struct Own { x: u32, y: u32 }

fn own_of(local: u32) -> Own {
    return Own(local % 2u + local / 4u % 8u * 2u, local / 2u % 2u + local / 32u * 2u);
}

// What each loads for a tile of 16 terms: eight terms of one of 64 rows. Four rows side by side, as
// NF4 quads lie.
struct Part { row: u32, eight: u32 }

fn part_of(local: u32) -> Part {
    return Part(local / 8u * 4u + local % 4u, local / 4u % 2u);
}
