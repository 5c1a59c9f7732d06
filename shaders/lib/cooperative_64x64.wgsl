// cooperative_64x64: 64 × 64 outputs of 128 invocations by matrix units, the four quarters of them
// one subgroup's each. Where there are two subgroups or one, each makes its quarters one after the
// other; beyond four they repeat the last quarter.

// Elements from a row of a tile to the next: more than it has, so that rows begin in different
// banks, and whole 16 bytes.
const LINE = DEPTH + 8u;

var<workgroup> left_tile: array<Factor, 64u * LINE>;  // (64, LINE): DEPTH terms of a row
var<workgroup> made: array<f32, 4u * UNIT * UNIT>;    // a unit of outputs of each quarter
var<workgroup> shared_power: atomic<u32>;

// The quarter that a subgroup makes in a turn: its place among those of the turn, and its first row
// and column.
struct Quarter { place: u32, top: u32, left: u32 }

fn quarter_of(turn: u32, subgroup: u32) -> Quarter {
    let number = min(turn + subgroup, 3u);
    return Quarter(number - turn, 32u * (number / 2u), 32u * (number % 2u));
}

fn power_begin(local: u32) {
    if local == 0u { atomicStore(&shared_power, 0u); }
    workgroupBarrier();
}

// The factor that brings values below 2^15 where `most` are the largest that each invocation has
// seen: the largest in [2^14, 2^15), and what lies up to 28 binades below it keeps all bits of an
// f16. And its inverse.
struct Scaling { factor: f32, inverse: f32 }

fn scaling_of(most: vec4f) -> Scaling {
    let pairs = max(most.xy, most.zw);
    // The power of two below it, within 2^±100.
    let own = clamp(bitcast<u32>(max(pairs.x, pairs.y)) & 0x7f800000u, 0x0d800000u, 0x71800000u);
    atomicMax(&shared_power, own);
    workgroupBarrier();
    let power = atomicLoad(&shared_power);
    return Scaling(bitcast<f32>(0x7f000000u - power) * 16384.0, bitcast<f32>(power) / 16384.0);
}

// Where element `e` of what the quarters of a turn have made of unit (i, j) belongs among 64 × 64.
struct Place { row: u32, column: u32, is_made: bool }

fn place_of(e: u32, turn: u32, subgroups: u32, i: u32, j: u32) -> Place {
    let place = e / (UNIT * UNIT);
    let number = min(turn + place, 3u);
    let row = 32u * (number / 2u) + UNIT * i + e % (UNIT * UNIT) / UNIT;
    let column = 32u * (number % 2u) + UNIT * j + e % UNIT;
    return Place(row, column, place < min(subgroups, 4u - turn));
}
