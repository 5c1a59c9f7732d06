// attention_pairs: tiles whose rows are pairs of a query and one of the heads that share its keys,
// and whose columns are keys.
// uses: attention_tile

var<workgroup> place: array<u32, 32>;  // first element of each row

// Elements from `part` on of the pairs from `row` on, of kv head g in sequence b.
struct Tile { part: u32, row: u32, g: u32, b: u32 }

fn sharing() -> u32 {
    return p.heads / p.kv_heads;
}

fn tile_of(id: u32) -> Tile {
    let parts = (p.e + 63u) / 64u;
    let tiles = (p.queries * sharing() + 31u) / 32u;
    let head = id / parts / tiles;
    return Tile(id % parts * 64u, id / parts % tiles * 32u, head % p.kv_heads, head / p.kv_heads);
}

// Keys that some row of the tile sees.
fn keys_seen(tile: Tile) -> u32 {
    return min((tile.row + 31u) / sharing(), p.queries - 1u) + p.start + 1u;
}

// The pairs of quad i; those beyond the last repeat it and store nothing.
fn pairs_of(tile: Tile, i: u32) -> vec4u {
    return fours(tile.row + i * 4u, p.queries * sharing());
}

// Its place among `stat`s, (B·T, H).
fn stat_of(tile: Tile, pair: u32) -> u32 {
    let query = p.first + tile.b * p.queries + pair / sharing();
    return query * p.heads + tile.g * sharing() + pair % sharing();
}

fn put_places(tile: Tile, lane: u32) {
    let pair = min(tile.row + lane, p.queries * sharing() - 1u);
    if lane < 32u { place[lane] = stat_of(tile, pair) * p.e; }
}

// Where element e of four rows lies.
fn places(quad: u32, e: u32) -> vec4u {
    let m = quad * 4u;
    return vec4u(place[m], place[m + 1u], place[m + 2u], place[m + 3u]) + e;
}

// Stages 32 elements of the rows' queries and of the keys from s on.
fn stage_keys(lane: u32, first: u32, s: u32, element: u32) {
    for (var n = lane; n < 256u; n += 64u) {
        let e = min(element + n % 32u, p.e - 1u);
        let key = first + fours(s + n / 32u * 4u, p.keys) * (p.kv_heads * p.e) + e;
        let at = places(n / 32u, e);
        let x = vec4f(q[at.x], q[at.y], q[at.z], q[at.w]);
        stage_pair(element, n, x, vec4f(k[key.x], k[key.y], k[key.z], k[key.w]));
    }
}
