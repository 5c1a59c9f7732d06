//! Spoils files, the same way every time.

/// Pieces that formats stumble over.
const PIECES: [&[u8]; 36] = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r\n",
    b"\n",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"\"16\"",
    b"1e999",
    b"1e30",
    b"0.5",
    b"18446744073709551616",
    b"18446744073709551615",
    b"9223372036854775807",
    b"4611686018427387904",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b"model.layers.",
    b"(((((.*)*)*)*)*)",
    b"lora_A.weight",
    b"-0",
    b"\xc3\x28",
    b"GGUF",
];

/// Numbers at the edges of their types.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    9,
    31,
    255,
    65_535,
    1 << 31,
    0xffff_ffff,
    1 << 40,
    1 << 60,
    1 << 62,
    u64::MAX - 7,
    u64::MAX,
];

/// A stream of inputs.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(name: &str) -> Mutator {
        let state = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Mutator { state }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, or 0.
    fn below(&mut self, n: usize) -> usize {
        (self.random() % n.max(1) as u64) as usize
    }

    /// One of the seeds with one change, which goes deep, or up to eight.
    pub fn next(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].clone();
        let most = [1, 8][self.below(2)];
        for _ in 0..=self.below(most) {
            self.change(&mut data, seeds);
        }
        data
    }

    /// Half of the places are near the beginning, where headers are; footers are found by the
    /// others.
    fn place(&mut self, data: &[u8]) -> usize {
        let within = [data.len(), data.len().min(1024)][self.below(2)];
        self.below(within)
    }

    fn change(&mut self, data: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.place(data);
        let n = (self.below(40) + 1).min(data.len() - at.min(data.len()));
        match self.below(10) {
            0 if !data.is_empty() => data[at] ^= 1 << self.below(8),
            1 if !data.is_empty() => data[at] = self.random() as u8,
            2 => drop(data.drain(at..at + n)),
            3 => {
                let piece = data[at..at + n].to_vec();
                data.splice(at..at, piece);
            }
            4 | 5 => {
                let piece = PIECES[self.below(PIECES.len())];
                let replaced = if self.below(2) == 0 { 0 } else { n.min(piece.len()) };
                data.splice(at..at + replaced, piece.iter().copied());
            }
            6 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let width = [4, 8][self.below(2)].min(data.len() - at);
                data[at..at + width].copy_from_slice(&number[..width]);
            }
            7 => self.number(data, at),
            8 => data.truncate(at),
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Puts another number where digits are.
    fn number(&mut self, data: &mut Vec<u8>, at: usize) {
        let Some(first) = data[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) else {
            return;
        };
        let count = data[first..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())].to_string();
        data.splice(first..first + count, number.into_bytes());
    }
}
