//! Seeded random streams: the same numbers on every platform, and no stream depends on how much
//! another one was used.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// FNV-1a, 64 bit: `h = (h ⊕ byte) · 0x100000001b3`, started at 0xcbf29ce484222325.
///
/// Names random streams and fingerprints files; not a cryptographic hash.
/// **Source** Fowler, Noll, Vo; draft-eastlake-fnv.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// The hash of `bytes` alone.
    pub fn of(bytes: &[u8]) -> u64 {
        Fnv::default().with(bytes).finish()
    }

    /// The hash continued by `bytes`.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Fnv {
        Fnv(bytes.iter().fold(self.0, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)))
    }

    /// The hash so far.
    pub fn finish(self) -> u64 {
        self.0
    }
}

/// A hash of large named arrays, some GB/s fast, whose pieces may come in any order:
/// `Σ mix((key(name) + i·φ) ⊕ word i)` over their 64-bit words, mod 2^64; not a cryptographic hash.
///
/// `φ` = 0x9e3779b97f4a7c15, `mix` is SplitMix64's, `key` FNV-1a. **Source** Steele, Lea, Flood
/// 2014 (SplitMix).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Adds a piece of the array `name` that begins at byte `from`, a multiple of 8; only an
    /// array's last piece may end within a word.
    pub fn add(&mut self, name: &str, from: u64, piece: &[u8]) {
        let mut place = Fnv::of(name.as_bytes()).wrapping_add((from / 8).wrapping_mul(PHI));
        let mut word = |bytes: [u8; 8]| {
            self.0 = self.0.wrapping_add(mix(place ^ u64::from_le_bytes(bytes)));
            place = place.wrapping_add(PHI);
        };
        let (words, rest) = piece.as_chunks();
        words.iter().copied().for_each(&mut word);
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            word(last);
        }
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

const PHI: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's bijection of u64.
fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Word `i` of an endless random array: `mix(key + i·φ)`, whichever were asked for before.
pub fn word_at(key: u64, i: u64) -> u64 {
    mix(key.wrapping_add(i.wrapping_mul(PHI)))
}

/// The random stream `label`/`index` of `seed`: ChaCha8 with key = seed, FNV-1a(label) and stream
/// number = index. Streams with other labels or indices share no state.
pub fn stream(seed: u64, label: &str, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&Fnv::of(label.as_bytes()).to_le_bytes());
    key[16..24].copy_from_slice(&(label.len() as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    rng
}

/// A number in [0, 1) with 53 random bits: `⌊u64 / 2^11⌋ · 2^-53`.
pub fn unit_f64(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in `0..n` without modulo bias (rejection of the incomplete last interval); 0 if `n`
/// is 0.
pub fn below(rng: &mut impl Rng, n: u64) -> u64 {
    if n == 0 {
        return 0;
    }
    // 2^64 mod n: the first `excess` values would make some results more likely.
    let excess = n.wrapping_neg() % n;
    loop {
        let x = rng.next_u64();
        if x >= excess {
            return x % n;
        }
    }
}

/// Shuffles in place (Fisher-Yates, from the end): every order equally likely.
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        // i + 1 values, so the result is at most i and fits.
        let j = below(rng, i as u64 + 1) as usize;
        items.swap(i, j);
    }
}

/// PCG-RXS-M-XS on 32 bits: a bijection of u32 that scatters neighbours.
///
/// `s = v·747796405 + 2891336453; w = ((s >> ((s >> 28) + 4)) ^ s)·277803737; (w >> 22) ^ w`
///
/// **Source** O'Neill 2014 (PCG); as a hash: Jarzynski & Olano 2020, "Hash Functions for GPU
/// Rendering".
pub fn pcg_hash(v: u32) -> u32 {
    let s = v.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let w = ((s >> ((s >> 28) + 4)) ^ s).wrapping_mul(277_803_737);
    (w >> 22) ^ w
}

/// The 32 random bits that decide dropout of element `index` under `seed`:
/// `pcg(pcg(index) ^ seed)`.
///
/// The element is kept if the result is at least the share that is dropped, times 2^32. Shaders
/// spell it the same, in u32 arithmetic that wraps:
/// ```wgsl
/// fn pcg_hash(v: u32) -> u32 {
///     let s = v * 747796405u + 2891336453u;
///     let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
///     return (w >> 22u) ^ w;
/// }
/// fn mask_hash(seed: u32, index: u32) -> u32 { return pcg_hash(pcg_hash(index) ^ seed); }
/// ```
/// The index is hashed before the seed enters: otherwise two seeds would give one sequence,
/// shifted.
pub fn mask_hash(seed: u32, index: u32) -> u32 {
    pcg_hash(pcg_hash(index) ^ seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_its_published_vectors() {
        assert_eq!(Fnv::of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::of(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fnv::of(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(Fnv::default().with(b"foo").with(b"bar").finish(), Fnv::of(b"foobar"));
    }

    #[test]
    fn a_fingerprint_sees_every_bit_and_no_order_of_pieces() {
        let of = |pieces: &[(&str, u64, &[u8])]| {
            let mut all = Fingerprint::default();
            pieces.iter().for_each(|(name, from, piece)| all.add(name, *from, piece));
            all.to_string()
        };
        let bytes: Vec<u8> = (0..45).map(|i| i * 5).collect();
        let whole = of(&[("a", 0, &bytes), ("b", 0, &[7])]);
        // It is in checkpoints: another number would refuse to resume them.
        assert_eq!(whole, A_FINGERPRINT);
        assert_eq!(of(&[("b", 0, &[7]), ("a", 16, &bytes[16..]), ("a", 0, &bytes[..16])]), whole);
        for bit in 0..8 * bytes.len() {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&[("a", 0, &other), ("b", 0, &[7])]), whole);
        }
        // The same words elsewhere: under the other's name, and in another order.
        assert_ne!(of(&[("b", 0, &bytes), ("a", 0, &[7])]), whole);
        let turned = [&bytes[8..16], &bytes[..8], &bytes[16..]].concat();
        assert_ne!(of(&[("a", 0, &turned), ("b", 0, &[7])]), whole);
    }
    const A_FINGERPRINT: &str = "713e8502893fbf29";

    #[test]
    fn a_stream_never_changes() {
        // These numbers are in every checkpoint's future: a change breaks resumed runs and seeds.
        let mut rng = stream(42, "order", 3);
        let got = [rng.next_u64(), rng.next_u64()];
        assert_eq!(got, A_STREAM, "{got:#018x?}");
        assert_ne!(stream(42, "order", 4).next_u64(), got[0]);
        assert_ne!(stream(43, "order", 3).next_u64(), got[0]);
        assert_ne!(stream(42, "other", 3).next_u64(), got[0]);
    }
    const A_STREAM: [u64; 2] = [0xdfd4_6387_0b2b_6bf1, 0xe10b_9eec_59ba_351c];

    #[test]
    fn below_is_even_and_in_range() {
        let mut rng = stream(1, "test", 0);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[below(&mut rng, 6) as usize] += 1;
        }
        // 10 000 expected, standard deviation 91: five of them.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 456), "{counts:?}");
        assert_eq!(below(&mut rng, 0), 0);
        assert_eq!(below(&mut rng, 1), 0);
        assert!((0..100).all(|_| below(&mut rng, u64::MAX) < u64::MAX));
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut rng = stream(1, "test", 1);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let mut items = [0, 1, 2];
            shuffle(&mut rng, &mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|c| c.abs_diff(10_000) < 456), "{counts:?}");
    }

    #[test]
    fn unit_f64_fills_the_unit_interval() {
        let mut rng = stream(1, "test", 2);
        let xs: Vec<f64> = (0..10_000).map(|_| unit_f64(&mut rng)).collect();
        assert!(xs.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = xs.iter().sum::<f64>() / xs.len() as f64;
        assert!((mean - 0.5).abs() < 0.0145, "{mean}"); // five standard errors
    }
}
