//! The reorder window: finished blocks that wait for those before them.
//!
//! A ticket is given with each piece of work, in channel order; blocks finish in any order and
//! leave in ticket order. There are as many places as block buffers, and every ticket out holds a
//! buffer, so the window cannot overflow.

pub(super) struct Window<T> {
    places: Box<[Option<T>]>,
    due: u64,
}

impl<T> Window<T> {
    pub(super) fn new(places: usize) -> Self {
        Self { places: (0..places).map(|_| None).collect(), due: 0 }
    }

    pub(super) fn park(&mut self, ticket: u64, item: T) {
        let ahead = ticket.checked_sub(self.due).expect("a ticket is parked once");
        assert!(ahead < self.places.len() as u64, "more tickets out than buffers");
        let place = self.place(ticket);
        assert!(self.places[place].is_none(), "a ticket is parked once");
        self.places[place] = Some(item);
    }

    /// The next in order, if it is here.
    pub(super) fn take_due(&mut self) -> Option<T> {
        let item = self.places[self.place(self.due)].take()?;
        self.due += 1;
        Some(item)
    }

    pub(super) fn has_due(&self) -> bool {
        self.places[self.place(self.due)].is_some()
    }

    /// The ticket that is waited for.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    fn place(&self, ticket: u64) -> usize {
        usize::try_from(ticket % self.places.len() as u64).expect("an index of the window")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_comes_first_leaves_in_order(
            order in Just((0..8u64).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let mut window = Window::new(8);
            let mut out = Vec::new();
            for ticket in order {
                window.park(ticket, ticket);
                while let Some(item) = window.take_due() {
                    out.push(item);
                }
            }
            prop_assert_eq!(out, (0..8).collect::<Vec<_>>());
        }
    }
}
