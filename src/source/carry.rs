//! Where unfinished frames wait between two visits: buffers of a few sizes from one budget.
//!
//! A connection between two frames holds nothing. An unfinished frame takes a buffer of 256 bytes
//! (an ordinary line's front fits) and moves to one twice the size whenever it outgrows it.
//! Buffers that come back are kept, so that in the steady state nothing is allocated.
//!
//! The budget is kept by the connections' owner: before each visit it asks [`Carries::is_tight`],
//! and then makes the longest carry an event. A visit may therefore always take what it needs.

use super::reach::{REST_BYTES, Reach};

/// The first size: 10,000 connections caught in the middle of a line cost 2.5 MiB.
const CARRY_BYTES_MIN: usize = 256;

/// What a counted frame's digits and space may add to the longest event, and then some.
pub const FRAME_EXTRA_BYTES: usize = 64;

/// One unfinished frame.
#[derive(Debug, Default)]
pub struct Carry {
    buffer: Vec<u8>,
    class: u8,
}

/// All carry buffers of one worker.
pub struct Carries {
    classes: Vec<Class>,
    budget: usize,
    /// Bytes of buffers in connections' hands, and of those lying here.
    lent: usize,
    spare: usize,
    /// How far reads go, and the rest of one that went too far.
    pub reach: Reach,
}

struct Class {
    bytes: usize,
    free: Vec<Vec<u8>>,
}

impl Carry {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets so many bytes at the front.
    pub fn forget(&mut self, count: usize) {
        self.buffer.drain(..count);
    }

    /// Forgets the bytes and keeps the buffer, for a visit that goes on.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }
}

impl Carries {
    /// For events of at most `event_bytes_max` and within `budget`, which is made to do.
    pub fn new(event_bytes_max: usize, budget: usize) -> Self {
        let largest = event_bytes_max + FRAME_EXTRA_BYTES;
        let sizes = std::iter::successors(Some(CARRY_BYTES_MIN), |bytes| Some(bytes * 2));
        let mut classes: Vec<Class> = sizes
            .take_while(|bytes| *bytes < largest)
            .map(|bytes| Class { bytes, free: Vec::new() })
            .collect();
        classes.push(Class { bytes: largest, free: Vec::new() });
        let budget = Self::budget(event_bytes_max, budget) - REST_BYTES;
        Self { classes, budget, lent: 0, spare: 0, reach: Reach::default() }
    }

    /// The budget in effect: never less than some of the longest frames and the rest of one read.
    pub fn budget(event_bytes_max: usize, budget: usize) -> usize {
        budget.max(8 * (event_bytes_max + FRAME_EXTRA_BYTES) + REST_BYTES)
    }

    /// Whether one more visit could go over the budget: it may grow one carry to the largest size
    /// while holding the size below it.
    pub fn is_tight(&self) -> bool {
        self.lent + 2 * self.largest() > self.budget
    }

    /// Bytes in connections' hands.
    pub fn lent_bytes(&self) -> usize {
        self.lent
    }

    pub fn append(&mut self, carry: &mut Carry, bytes: &[u8]) {
        let length = carry.len() + bytes.len();
        if length > carry.buffer.capacity() {
            self.grow(carry, length);
        }
        carry.buffer.extend_from_slice(bytes);
    }

    /// Takes the buffer home.
    pub fn release(&mut self, carry: &mut Carry) {
        let Carry { mut buffer, class } = std::mem::take(carry);
        if buffer.capacity() == 0 {
            return;
        }
        buffer.clear();
        let class = &mut self.classes[usize::from(class)];
        self.lent -= class.bytes;
        self.spare += class.bytes;
        class.free.push(buffer);
    }

    fn grow(&mut self, carry: &mut Carry, length: usize) {
        let index = self.classes.partition_point(|class| class.bytes < length);
        let mut larger = Carry { buffer: self.take(index), class: index as u8 };
        larger.buffer.extend_from_slice(&carry.buffer);
        self.release(carry);
        *carry = larger;
    }

    fn take(&mut self, index: usize) -> Vec<u8> {
        let bytes = self.classes.get(index).expect("frames are bounded by framing").bytes;
        self.lent += bytes;
        if let Some(buffer) = self.classes[index].free.pop() {
            self.spare -= bytes;
            return buffer;
        }
        // Large ones first: what lies here for long is the large ones.
        for class in self.classes.iter_mut().rev() {
            while self.lent + self.spare > self.budget && class.free.pop().is_some() {
                self.spare -= class.bytes;
            }
        }
        Vec::with_capacity(bytes)
    }

    fn largest(&self) -> usize {
        self.classes.last().expect("there is always one class").bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carry_grows_by_doubling_and_comes_home() {
        let mut carries = Carries::new(64 << 10, (1 << 20) + REST_BYTES);
        let mut carry = Carry::default();
        let mut expected = Vec::new();
        for step in 0..6000_u32 {
            carries.append(&mut carry, &step.to_le_bytes());
            expected.extend_from_slice(&step.to_le_bytes());
        }
        assert_eq!((carry.bytes(), carries.lent_bytes()), (&expected[..], 32 << 10));
        let rest = vec![7; (64 << 10) + FRAME_EXTRA_BYTES - carry.len()];
        carries.append(&mut carry, &rest);
        assert_eq!(carries.lent_bytes(), (64 << 10) + FRAME_EXTRA_BYTES);
        carries.release(&mut carry);
        assert_eq!((carries.lent_bytes(), carry.len()), (0, 0));
        carries.release(&mut carry);
        // The next one takes a buffer from home.
        let spare = carries.spare;
        carries.append(&mut carry, b"x");
        assert_eq!((carries.lent_bytes(), carries.spare), (256, spare - 256));
    }

    #[test]
    fn spare_buffers_make_room_before_the_budget_is_gone() {
        let mut carries = Carries::new(1000, 0);
        assert_eq!(carries.budget, 8 * 1064);
        assert_eq!(Carries::budget(1000, 0), 8 * 1064 + REST_BYTES);
        let mut many: Vec<Carry> = (0..6).map(|_| Carry::default()).collect();
        for carry in &mut many {
            assert!(!carries.is_tight());
            carries.append(carry, &[1; 1064]);
        }
        assert!(!carries.is_tight());
        many.iter_mut().for_each(|carry| carries.release(carry));
        let mut small: Vec<Carry> = (0..25).map(|_| Carry::default()).collect();
        small.iter_mut().for_each(|carry| carries.append(carry, b"x"));
        assert!(carries.lent + carries.spare <= carries.budget);
        assert_eq!(carries.lent, 25 * 256);
        assert!(carries.is_tight());
    }
}
