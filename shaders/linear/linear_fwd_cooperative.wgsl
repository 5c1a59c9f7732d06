// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k], by matrix units of 8 × 8 × 8 in f32.
// roles: rows   uses: codebook_selects
// dispatch: (N/64, M/64)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// A workgroup makes 64 × 64 outputs from tiles of 16 k; a subgroup a quarter of them, 4 × 4 units.
// Where there are two subgroups or one, each makes its quarters one after the other; beyond four
// they repeat the last quarter. The outputs go through the shared memory of the tiles, so that rows
// and columns past the end need no units.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read>       down:   array<f32>;        // none
@group(0) @binding(7) var<storage, read>       b:      array<f32>;        // none
@group(0) @binding(8) var<storage, read_write> y:      array<f32>;        // (M, stride)

alias Left = coop_mat8x8<f32, A>;
alias Right = coop_mat8x8<f32, B>;
alias Sums = coop_mat8x8<f32, C>;

const W_TILE = 1024u;  // where w's tile begins

// Tiles of x and of w, each (64, 16), then the 64 × 64 outputs.
var<workgroup> shared_memory: array<f32, 4096>;

@compute @workgroup_size(128)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let k8 = p.k / 8u;
    // The invocation's part of the tiles: eight k of a row of x and of a row of w. Rows past the
    // end repeat the last one.
    let part = local / 2u;
    let eight = local % 2u;
    let x_row = min(group.y * 64u + part, p.m - 1u) * 2u * k8;
    let w_row = min(group.x * 64u + part, p.n - 1u);

    for (var turn = 0u; turn < 4u; turn += subgroups) {
        let quarter = min(turn + subgroup, 3u);
        let top = 32u * (quarter / 2u);
        let left = 32u * (quarter % 2u);
        for (var i = local; i < 4096u; i += 128u) { shared_memory[i] = 0.0; }
        workgroupBarrier();
        var acc: array<array<Sums, 4>, 4>;
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) { acc[i][j] = coopLoadT<Sums>(&shared_memory[0], 64u); }
        }
        workgroupBarrier();
        for (var k = 0u; k < k8; k += 2u) {
            // Past the end x is 0, and the last weights are repeated.
            let at = min(k + eight, k8 - 1u);
            let is_in = k + eight < k8;
            let both = rows8(w_row, at);
            for (var h = 0u; h < 2u; h++) {
                let four = select(vec4f(), x[x_row + 2u * at + h], is_in);
                let to = 16u * part + 8u * eight + 4u * h;
                for (var c = 0u; c < 4u; c++) {
                    shared_memory[to + c] = four[c];
                    shared_memory[W_TILE + to + c] = both[h][c];
                }
            }
            workgroupBarrier();
            for (var unit = 0u; unit < 16u; unit += 8u) {
                for (var i = 0u; i < 4u; i++) {
                    let r = coopLoadT<Left>(&shared_memory[16u * (top + 8u * i) + unit], 16u);
                    for (var j = 0u; j < 4u; j++) {
                        let c = coopLoad<Right>(&shared_memory[W_TILE + 16u * (left + 8u * j) + unit], 16u);
                        acc[i][j] = coopMultiplyAdd(r, c, acc[i][j]);
                    }
                }
            }
            workgroupBarrier();
        }
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                coopStoreT(acc[i][j], &shared_memory[64u * (top + 8u * i) + left + 8u * j], 64u);
            }
        }
        workgroupBarrier();
        // What this turn made: quarters turn to turn + subgroups − 1.
        for (var i = local; i < 4096u; i += 128u) {
            let r = group.y * 64u + i / 64u;
            let c = group.x * 64u + i % 64u;
            let made = 2u * (i / 2048u) + i % 64u / 32u;
            if made >= turn && made < turn + subgroups && r < p.m && c < p.n {
                let at = r * p.stride + p.first + c;
                y[at] = select(0.0, y[at], p.accumulate == 1u) + p.scale * shared_memory[i];
            }
        }
        workgroupBarrier();
    }
}
