//! Marks: what happened to an event that was kept all the same. They are no losses.

/// The marks that are counted, in the order of their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The kernel gave only the front of a datagram.
    Truncated,
    /// A piece of an event that was longer than `event_max`, or that its octet count tore apart.
    Split,
    /// The message could not be parsed; it is kept whole.
    Unparsed,
    /// Delivered again after a restart.
    Redelivered,
}

impl Mark {
    pub const ALL: [Self; 4] = [Self::Truncated, Self::Split, Self::Unparsed, Self::Redelivered];
    pub const COUNT: usize = Self::ALL.len();

    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Split => "split",
            Self::Unparsed => "unparsed",
            Self::Redelivered => "redelivered",
        }
    }
}

/// A set of marks, and the flag CONTROL that tells the raw encoder to look closer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    pub const NONE: Self = Self(0);
    pub const TRUNCATED: Self = Self(1 << 0);
    pub const SPLIT: Self = Self(1 << 1);
    pub const UNPARSED: Self = Self(1 << 2);
    pub const REDELIVERED: Self = Self(1 << 3);
    /// Came in a datagram or counted frame and holds control bytes.
    pub const CONTROL: Self = Self(1 << 4);

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The counted marks among these.
    pub fn counted(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |mark| self.0 & (1 << *mark as u8) != 0)
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    pub(super) const fn any_counted(self) -> bool {
        self.0 & 0x0f != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_marks_are_the_bits_that_were_set() {
        let marks = Marks::SPLIT.with(Marks::CONTROL);
        assert_eq!(marks.counted().collect::<Vec<_>>(), [Mark::Split]);
        assert!(marks.contains(Marks::CONTROL) && !marks.contains(Marks::TRUNCATED));
        let all =
            Marks::TRUNCATED.with(Marks::SPLIT).with(Marks::UNPARSED).with(Marks::REDELIVERED);
        assert_eq!(all.counted().count(), Mark::COUNT);
    }
}
