//! Log text for benches: the same bytes at every run, varied enough that codecs have to work.

/// Lines of `line_bytes` with their newlines, as many as fit `bytes`.
pub(crate) fn lines(bytes: usize, line_bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    while text.len() + line_bytes < bytes {
        let start = text.len();
        let (host, process, id) = (random.below(64), random.below(8), random.below(65_536));
        let head = format!(
            "<{}>Nov 21 14:{:02}:{:02} host{host:02} service{process}[{id}]: request {:08x} from \
             10.{}.{}.{} took {} ms ",
            random.below(192),
            random.below(60),
            random.below(60),
            random.next(),
            random.below(256),
            random.below(256),
            random.below(256),
            random.below(5_000),
        );
        text.extend_from_slice(head.as_bytes());
        while text.len() < start + line_bytes {
            text.extend_from_slice(WORDS[random.below(WORDS.len() as u64) as usize].as_bytes());
        }
        text.truncate(start + line_bytes);
        text.push(b'\n');
    }
    text
}

const WORDS: [&str; 12] = [
    "accepted ",
    "cache ",
    "closed ",
    "connection ",
    "denied ",
    "for ",
    "peer ",
    "ready ",
    "retry ",
    "session ",
    "timeout ",
    "user ",
];

/// Xorshift: the seed is the whole state.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.next()) % bound
    }
}
