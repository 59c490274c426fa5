//! The pen: appends words and numbers to a byte slice, fast.
//!
//! A word lies in a fixed 31-byte cell and is copied whole, then the pen moves on by its true
//! length: two vector moves instead of a call of memcpy. So the pen may write up to 31 bytes past
//! the text; [`PEN_SLACK_BYTES`] of room behind it is the caller's promise. Numbers come from
//! tables of three digits. All bounds are checked: a slice too short panics, it never overruns.

/// Room the pen needs behind the last byte it keeps.
pub(super) const PEN_SLACK_BYTES: usize = 64;

pub(super) struct Pen<'a> {
    out: &'a mut [u8],
    pub(super) at: usize,
}

impl<'a> Pen<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    #[inline(always)]
    pub(super) fn text<const N: usize>(&mut self, text: &[u8; N]) {
        self.out[self.at..self.at + N].copy_from_slice(text);
        self.at += N;
    }

    #[inline(always)]
    pub(super) fn word(&mut self, word: &Word) {
        self.out[self.at..self.at + WORD_BYTES].copy_from_slice(&word.bytes);
        self.at += usize::from(word.length);
    }

    /// 0 to 999, without leading zeros.
    #[inline(always)]
    fn short(&mut self, number: u32) {
        let cell = &SHORT[number as usize];
        self.out[self.at..self.at + 4].copy_from_slice(cell);
        self.at += usize::from(cell[3]);
    }

    /// Three digits.
    #[inline(always)]
    pub(super) fn three(&mut self, number: u32) {
        self.out[self.at..self.at + 4].copy_from_slice(&THREE[number as usize]);
        self.at += 3;
    }

    #[inline(always)]
    pub(super) fn decimal(&mut self, number: u32) {
        let (high, low) = (number / 1000, number % 1000);
        if high == 0 {
            self.short(low);
        } else if high < 1000 {
            self.short(high);
            self.three(low);
        } else {
            self.large(high, low);
        }
    }

    fn large(&mut self, high: u32, low: u32) {
        self.decimal(high);
        self.three(low);
    }

    /// Microseconds of a second, six digits.
    #[inline(always)]
    pub(super) fn six(&mut self, number: u32) {
        self.three(number / 1000);
        self.three(number % 1000);
    }

    #[inline(always)]
    pub(super) fn address(&mut self, address: u32) {
        let [a, b, c, d] = address.to_be_bytes();
        self.short(u32::from(a));
        self.text(b".");
        self.short(u32::from(b));
        self.text(b".");
        self.short(u32::from(c));
        self.text(b".");
        self.short(u32::from(d));
    }

    #[inline(always)]
    pub(super) fn hex(&mut self, byte: u8) {
        self.text(&HEX[usize::from(byte)]);
    }

    /// Eight hexadecimal digits.
    #[inline(always)]
    pub(super) fn hex8(&mut self, number: u32) {
        for byte in number.to_be_bytes() {
            self.hex(byte);
        }
    }

    #[inline(always)]
    pub(super) fn hardware_address(&mut self, number: u32) {
        self.text(b"52:54:00");
        for byte in &number.to_be_bytes()[1..] {
            self.text(b":");
            self.hex(*byte);
        }
    }
}

const WORD_BYTES: usize = 31;

/// A short text in a cell of fixed size.
#[derive(Clone, Copy)]
pub(super) struct Word {
    bytes: [u8; WORD_BYTES],
    length: u8,
}

impl Word {
    pub(super) const fn new(text: &str) -> Self {
        assert!(text.len() <= WORD_BYTES);
        let mut bytes = [0; WORD_BYTES];
        let mut index = 0;
        while index < text.len() {
            bytes[index] = text.as_bytes()[index];
            index += 1;
        }
        Self { bytes, length: text.len() as u8 }
    }
}

pub(super) const fn words<const N: usize>(texts: [&str; N]) -> [Word; N] {
    let mut words = [Word::new(""); N];
    let mut index = 0;
    while index < N {
        words[index] = Word::new(texts[index]);
        index += 1;
    }
    words
}

/// splitmix64 (Steele, Lea, Flood 2014): one addition and three multiplications a number.
#[derive(Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    #[inline(always)]
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    #[inline(always)]
    pub(super) fn next_u32(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// 0 to `limit` - 1.
    #[inline(always)]
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        scale(self.next_u32(), limit)
    }

    /// 0 to `limit` - 1, the small ones far more often: a square of a uniform number.
    #[inline(always)]
    pub(super) fn skewed(&mut self, limit: u32) -> u32 {
        let number = self.next_u32();
        scale(scale(number, number), limit)
    }

    #[inline(always)]
    pub(super) fn pick<'t, T, const N: usize>(&mut self, table: &'t [T; N]) -> &'t T {
        &table[self.below(N as u32) as usize]
    }
}

#[inline(always)]
fn scale(number: u32, limit: u32) -> u32 {
    ((u64::from(number) * u64::from(limit)) >> 32) as u32
}

/// A fixed scramble: the same number gives the same bits, neighbours give unlike ones.
#[inline(always)]
pub(super) const fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Up to three digits from the left, and their number.
static SHORT: [[u8; 4]; 1000] = {
    let mut table = [[0; 4]; 1000];
    let mut number = 0;
    while number < 1000 {
        let [a, b, c, _] = padded(number);
        table[number] = match number {
            0..10 => [c, 0, 0, 1],
            10..100 => [b, c, 0, 2],
            _ => [a, b, c, 3],
        };
        number += 1;
    }
    table
};

static THREE: [[u8; 4]; 1000] = {
    let mut table = [[0; 4]; 1000];
    let mut number = 0;
    while number < 1000 {
        table[number] = padded(number);
        number += 1;
    }
    table
};

const fn padded(number: usize) -> [u8; 4] {
    [b'0' + (number / 100) as u8, b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8, 0]
}

static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut number = 0;
    while number < 256 {
        table[number] = [digits[number >> 4], digits[number & 15]];
        number += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Pen)) -> String {
        let mut out = [b'#'; 128];
        let mut pen = Pen::new(&mut out);
        write(&mut pen);
        let end = pen.at;
        String::from_utf8(out[..end].to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        let edges = [0, 9, 10, 99, 100, 999, 1000, 1001, 99_999, 999_999, 1_000_000, u32::MAX];
        for number in edges {
            assert_eq!(written(|pen| pen.decimal(number)), number.to_string());
            assert_eq!(written(|pen| pen.hex8(number)), format!("{number:08x}"));
            let address = std::net::Ipv4Addr::from(number);
            assert_eq!(written(|pen| pen.address(address.to_bits())), address.to_string());
            let micros = number % 1_000_000;
            assert_eq!(written(|pen| pen.six(micros)), format!("{micros:06}"));
        }
        assert_eq!(written(|pen| pen.hardware_address(0xab_01_02)), "52:54:00:ab:01:02");
    }

    #[test]
    fn a_word_of_any_length_keeps_its_bytes() {
        for length in 0..=WORD_BYTES {
            let text = &"abcdefghijklmnopqrstuvwxyz01234"[..length];
            let word = Word::new(text);
            assert_eq!(written(|pen| (pen.word(&word), pen.text(b"!")).1), format!("{text}!"));
        }
    }

    #[test]
    fn a_random_number_stays_below_its_limit_and_reaches_it() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 7];
        for _ in 0..1000 {
            seen[random.below(7) as usize] += 1;
            assert!(random.skewed(7) < 7);
        }
        assert!(seen.iter().all(|&count| count > 80), "{seen:?}");
    }
}
