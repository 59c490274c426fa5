//! Numbered events whose text follows from their number: found text is compared whole.

use crate::random::Random;

/// Source, connection and number within the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u64);

impl Id {
    pub(crate) fn new(source: usize, connection: usize, number: u32) -> Self {
        Self((source as u64) << 48 | (connection as u64) << 32 | u64::from(number))
    }

    /// Source and connection together.
    pub(crate) fn stream(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn number(self) -> u32 {
        self.0 as u32
    }

    /// `@source.connection.number@` and filler that compresses a bit; no byte that any encoder
    /// changes.
    pub(crate) fn text(self) -> String {
        let mut text = format!("{self:?}");
        let mut random = Random::new(self.0);
        let length = match random.below(20) {
            0 => 0,
            1 => random.within(600..3000),
            2..6 => random.within(200..600),
            _ => random.within(10..200),
        };
        let mut bits = 0;
        for at in 0..length {
            if at % 16 < 4 {
                bits = random.next();
            }
            bits = bits.rotate_left(5);
            text.push(char::from(b'a' + (bits % 26) as u8));
        }
        text
    }

    /// The event in a line of any encoder; None when the line is not exactly one of ours.
    pub(crate) fn in_line(line: &[u8], json: bool) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        // Other keys have an at sign, too.
        let told = if json { line.split_once("\"message\":\"")?.1 } else { line };
        let mut parts = told.split('@');
        let (before, numbers) = (parts.next()?, parts.next()?);
        let mut numbers = numbers.split('.');
        let mut number = || numbers.next()?.parse::<u32>().ok();
        let id = Self::new(number()? as usize, number()? as usize, number()?);
        let text = id.text();
        let whole = if json {
            line.ends_with('}') && line.contains(&format!("\"{text}\""))
        } else {
            before.is_empty() && line == text
        };
        whole.then_some(id)
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{}.{}.{}@", self.0 >> 48, (self.0 >> 32) & 0xffff, self.number())
    }
}
