// attention_tile: scores of 32 rows by 32 columns in shared memory, and sums of what they weigh, by
// a workgroup of 8·8 lanes. Lane 8·i + j has scores of rows 4i to 4i+3 and columns 4j to 4j+3, and
// of these rows' sums elements 4j to 4j+3 and the same 32 further. The body says how many quads of
// weights there are, `WEIGHTS`.

var<workgroup> stage: array<vec4f, 512>;       // 32 elements of rows and of columns; or 64 of columns
var<workgroup> weight: array<vec4f, WEIGHTS>;  // (32 columns, 8 quads of rows), once or twice

// Place in `stage` of a quad of rows in an element: turned by the element, so that banks differ.
fn turned(e: u32, quad: u32) -> u32 {
    return e * 8u + (quad ^ (e % 8u));
}

// Four successive rows of `count`, those past the end the last one.
fn fours(row: u32, count: u32) -> vec4u {
    return min(row + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u));
}

// Stages element first + n % 32 of quad n / 32 of rows and of columns: 0 past the end.
fn stage_pair(first: u32, n: u32, row: vec4f, column: vec4f) {
    let e = n % 32u;
    let inside = first + e < p.e;
    stage[turned(e, n / 32u)] = select(vec4f(), row, inside);
    stage[256u + turned(e, n / 32u)] = select(vec4f(), column, inside);
}

// Adds the products of the staged elements; a column of the matrix is one of the scores.
fn add_scores(scores: mat4x4f, i: u32, j: u32) -> mat4x4f {
    var sum = scores;
    // Four at a time: compilers that unroll 32 keep more loads in registers than there are. What
    // lies beyond the head's end is 0.
    for (var n = 0u; n < min(32u, p.e); n += 4u) {
        for (var e = n; e < n + 4u; e++) {
            let x = stage[turned(e, i)];
            let z = stage[256u + turned(e, j)];
            sum[0] = fma(x, z.xxxx, sum[0]);
            sum[1] = fma(x, z.yyyy, sum[1]);
            sum[2] = fma(x, z.zzzz, sum[2]);
            sum[3] = fma(x, z.wwww, sum[3]);
        }
    }
    return sum;
}

fn put_weights(first: u32, i: u32, j: u32, weights: mat4x4f) {
    let at = first + j * 32u + i;
    weight[at] = weights[0];
    weight[at + 8u] = weights[1];
    weight[at + 16u] = weights[2];
    weight[at + 24u] = weights[3];
}

// One of the four vectors that the lane has put there.
fn own_weights(first: u32, i: u32, j: u32, c: u32) -> vec4f {
    return weight[first + j * 32u + c * 8u + i];
}

// Elements of the sums that are staged at n, from `part` on.
fn elements(part: u32, n: u32) -> vec4u {
    return fours(part + n % 16u * 4u, p.e);
}

// A column of a matrix is a row's four elements, the first or those 32 further.
struct Sums { low: mat4x4f, high: mat4x4f }

// Adds what is staged, weighed.
fn add_weighed(sums: Sums, first: u32, i: u32, j: u32) -> Sums {
    var all = sums;
    for (var n = 0u; n < 32u; n++) {
        let w = weight[first + n * 8u + i];
        let l = stage[n * 16u + j];
        let h = stage[n * 16u + 8u + j];
        all.low[0] = fma(w.xxxx, l, all.low[0]);
        all.low[1] = fma(w.yyyy, l, all.low[1]);
        all.low[2] = fma(w.zzzz, l, all.low[2]);
        all.low[3] = fma(w.wwww, l, all.low[3]);
        all.high[0] = fma(w.xxxx, h, all.high[0]);
        all.high[1] = fma(w.yyyy, h, all.high[1]);
        all.high[2] = fma(w.zzzz, h, all.high[2]);
        all.high[3] = fma(w.wwww, h, all.high[3]);
    }
    return all;
}
