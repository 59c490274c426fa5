//! Pages that events were copied into, as datagrams are.

use flumen::event::{EventHead, Marks, Origin, Page};
use flumen::time::Wall;

/// As many of the lines of `line_bytes`, without their newlines, as there is room for.
pub(crate) fn fill(page: &mut Page, lines: &[u8], line_bytes: usize) {
    page.clear(1);
    let origin = page.push_origin(Origin::LOCAL).expect("an empty page");
    let head = EventHead { at: Wall(1), origin, pri: None, marks: Marks::default() };
    for line in lines.chunks_exact(line_bytes + 1) {
        if page.append_event(&line[..line_bytes], head).is_err() {
            return;
        }
    }
}
