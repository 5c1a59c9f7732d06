// linear_bwd_lanes8: what the bodies that make TM rows by eight columns of linear_bwd in each of
// eight lanes read and write.

const LOADS = TM / 4u;  // vec4 loads of dy per step of 8 n: the subgroup's 32 values serve 4 rows

alias Sums = array<array<array<vec4f, 2>, 4>, LOADS>;  // [4 rows][row][half]

// Lanes 2i and 2i+1 load eight n of row 4g+i, from this vec4 on. Rows past the end repeat the last
// one; only the stores are guarded.
fn dy_places(row: u32, lane: u32) -> array<u32, LOADS> {
    var at: array<u32, LOADS>;
    for (var g = 0u; g < LOADS; g++) {
        at[g] = (min(row + 4u * g + lane / 2u, p.m - 1u) * p.stride + p.first) / 4u;
    }
    return at;
}

// Four rows a turn, then the next four move up: a load or store is slow to compile.
fn store(row: u32, column: u32, sums: ptr<function, Sums>) {
    let k8 = p.k / 8u;
    for (var r = row; r < min(row + TM, p.m); r += 4u) {
        for (var i = 0u; i < 4u; i++) {
            if r + i < p.m && column < k8 {
                let at = (r + i) * 2u * k8 + 2u * column;
                for (var c = 0u; c < 2u; c++) {
                    var sum = p.scale * (*sums)[0][i][c];
                    if p.accumulate == 1u { sum += dx[at + c]; }
                    dx[at + c] = sum;
                }
            }
        }
        for (var g = 1u; g < LOADS; g++) { (*sums)[g - 1u] = (*sums)[g]; }
    }
}
