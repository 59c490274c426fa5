//! Events with headers, and origins with labels, in a page.
//!
//! An event's own block stands behind its text, the labels of an origin where they were pushed; so
//! both end `contiguous`.

use std::net::SocketAddr;

use super::{EventHead, Full, Names, ORIGIN_BYTES_MAX, Origin, OriginIndex, Page, SLOT_BYTES};
use crate::event::headers::{BLOCK_HEAD_BYTES, HeaderMap};
use crate::event::slot::HEADED;
use crate::limits;

impl Page {
    /// An origin whose events share these headers. Push it before reading into the gap.
    pub fn push_labelled_origin(
        &mut self,
        origin: Origin,
        names: Names<'_>,
        labels: &HeaderMap,
    ) -> Result<OriginIndex, Full> {
        self.push_full_origin(origin, names, None, labels)
    }

    /// The same with all that an origin may have.
    pub fn push_full_origin(
        &mut self,
        origin: Origin,
        names: Names<'_>,
        local: Option<SocketAddr>,
        labels: &HeaderMap,
    ) -> Result<OriginIndex, Full> {
        if labels.is_empty() {
            return self.push_whole_origin(origin, names, local);
        }
        let block = BLOCK_HEAD_BYTES + labels.entries().len();
        if self.free_bytes() < block + ORIGIN_BYTES_MAX + 2 * SLOT_BYTES {
            return Err(Full);
        }
        let at = self.tail();
        let index = self.push_origin_slots(origin, names, local, Some(at))?;
        self.append_block(labels);
        self.contiguous = false;
        self.labels_end = self.tail;
        self.labels_max = self.labels_max.max(limits::u32_of(labels.entries().len()));
        Ok(index)
    }

    /// Copies an event, its LF and its own headers behind the tail.
    pub fn append_headed(
        &mut self,
        bytes: &[u8],
        headers: &HeaderMap,
        head: EventHead,
    ) -> Result<(), Full> {
        if headers.is_empty() {
            return self.append_event(bytes, head);
        }
        let block = BLOCK_HEAD_BYTES + headers.entries().len();
        if self.free_bytes() < bytes.len() + 1 + block + self.slot_bytes() {
            return Err(Full);
        }
        let slot = self.slots;
        self.append_event(bytes, head)?;
        self.append_block(headers);
        self.slot_mut(slot).tag |= HEADED;
        self.contiguous = false;
        self.own_max = self.own_max.max(limits::u32_of(headers.entries().len()));
        Ok(())
    }

    fn append_block(&mut self, headers: &HeaderMap) {
        let entries = headers.entries();
        let spare = self.spare_mut();
        spare[..BLOCK_HEAD_BYTES].copy_from_slice(&limits::u32_of(entries.len()).to_le_bytes());
        spare[BLOCK_HEAD_BYTES..BLOCK_HEAD_BYTES + entries.len()].copy_from_slice(entries);
        self.advance(BLOCK_HEAD_BYTES + entries.len());
    }

    /// The most bytes that the headers of one of its events take; 0: none has any.
    pub fn header_bytes_max(&self) -> usize {
        limits::usize_of(self.own_max) + limits::usize_of(self.labels_max)
    }

    /// The bytes of its events and at most of their headers: what encoders reckon with.
    pub fn bytes_with_headers(&self) -> usize {
        let bytes = usize::try_from(self.event_bytes).unwrap_or(usize::MAX);
        bytes + limits::usize_of(self.events) * self.header_bytes_max()
    }

    /// Its bytes for readers of headers: none when it has none.
    #[inline]
    pub(super) fn header_store(&self) -> &[u8] {
        if self.header_bytes_max() > 0 { self.used() } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Copying, Event, HeaderMap, Marks, Since};
    use crate::limits::{BATCH_BYTES_MIN, HEADERS_BYTES_MAX};
    use crate::time::Wall;

    pub(crate) fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::default();
        for (name, value) in pairs {
            map.set(name.as_bytes(), value.as_bytes()).expect("short");
        }
        map
    }

    const NAMED: Names<'_> = Names { certificate: "c.example", host: "h.example" };

    fn said(event: &Event<'_>) -> String {
        let text = String::from_utf8_lossy;
        let pair = |(name, value)| format!("{}={}", text(name), text(value));
        let pairs: Vec<_> = event.headers().iter().map(pair).collect();
        format!("{}: {}", text(event.bytes), pairs.join(" "))
    }

    fn all(page: &Page) -> Vec<String> {
        page.events().map(|event| said(&event)).collect()
    }

    fn head(origin: OriginIndex) -> EventHead {
        EventHead { at: Wall(1), origin, pri: None, marks: Marks::NONE }
    }

    #[test]
    fn own_headers_go_before_labels_and_others_have_none() {
        let mut page = Page::new(BATCH_BYTES_MIN);
        let plain = page.push_origin(Origin::LOCAL).expect("room");
        page.append_event(b"a", head(plain)).expect("room");
        assert!(page.contiguous().is_some() && page.events().all(|it| !it.has_headers()));
        let labels = map(&[("file", "/x"), ("site", "b")]);
        let labelled = page.push_labelled_origin(Origin::LOCAL, NAMED, &labels);
        let labelled = labelled.expect("room");
        page.append_event(b"b", head(labelled)).expect("room");
        let own = map(&[("site", "c"), ("n", "1")]);
        page.append_headed(b"c", &own, head(labelled)).expect("room");
        page.append_headed(b"d", &own, head(plain)).expect("room");
        let expected = ["a: ", "b: file=/x site=b", "c: site=c n=1 file=/x", "d: site=c n=1"];
        assert_eq!(all(&page), expected);
        assert_eq!(page.contiguous(), None);
        let event = page.events().nth(2).expect("three");
        assert_eq!(event.headers().get("site"), Some(&b"c"[..]));
        assert_eq!(
            (event.headers().get("x"), event.headers().get("file")),
            (None, Some(&b"/x"[..]))
        );
        assert!(event.bytes_with_headers() <= 1 + page.header_bytes_max());
        // What a filter leaves is as it was, and labels outlive the events that were refused.
        let since = page.since();
        page.append_headed(b"e", &own, head(labelled)).expect("room");
        let late = page.push_labelled_origin(Origin::LOCAL, Names::NONE, &map(&[("file", "/y")]));
        let late = late.expect("room");
        page.append_event(b"f", head(late)).expect("room");
        page.retain(&since, |_| false);
        page.append_event(b"g", head(late)).expect("room");
        page.retain(&Since::START, |event| event.bytes != b"b");
        assert_eq!(all(&page), ["a: ", "c: site=c n=1 file=/x", "d: site=c n=1", "g: file=/y"]);
        let mut copy = Page::new(BATCH_BYTES_MIN);
        copy.copy_from(&page);
        assert_eq!(all(&copy), all(&page));
        page.clear(9);
        assert_eq!(page.header_bytes_max(), 0);
    }

    #[test]
    fn without_room_nothing_is_begun() {
        let mut page = Page::new(BATCH_BYTES_MIN);
        let origin = page.push_origin(Origin::LOCAL).expect("room");
        let own = map(&[("name", "value")]);
        // LF, length, entry, slot.
        let bytes = 1 + 4 + 6 + 9 + 16;
        page.advance(page.free_bytes() - bytes);
        assert_eq!(page.append_headed(b"x", &own, head(origin)), Err(Full));
        let tail = page.tail();
        assert_eq!(page.push_labelled_origin(Origin::LOCAL, Names::NONE, &own), Err(Full));
        assert_eq!((page.tail(), page.event_count()), (tail, 0));
        page.append_headed(b"", &own, head(origin)).expect("exactly");
        assert_eq!((page.free_bytes(), all(&page)), (0, vec![": name=value".to_owned()]));
    }

    #[test]
    fn a_map_has_each_name_once_and_an_end() {
        let mut map = map(&[("a", "1"), ("b", "2"), ("a", "3")]);
        let pairs: Vec<_> = map.iter().collect();
        assert_eq!(pairs, [(&b"b"[..], &b"2"[..]), (b"a", b"3")]);
        map.remove(b"b");
        assert_eq!((map.get(b"b"), map.get(b"a")), (None, Some(&b"3"[..])));
        assert!(map.set(b"", b"x").is_err());
        let long = vec![b'x'; HEADERS_BYTES_MAX];
        assert!(map.set(b"a", &long).is_err());
        assert_eq!(map.get(b"a"), Some(&b"3"[..]), "what is refused changes nothing");
        assert!(map.set(b"a", &long[..HEADERS_BYTES_MAX - 7]).is_ok());
    }

    /// Alike headers are stored once, and what is read is what was written.
    #[test]
    fn headers_that_many_have_alike_become_labels() {
        let mut from = Page::new(BATCH_BYTES_MIN);
        let origin = from.push_labelled_origin(Origin::LOCAL, NAMED, &map(&[("file", "/x")]));
        let origin = origin.expect("room");
        for _ in 0..100 {
            from.append_event(b"text", head(origin)).expect("room");
        }
        for step in [1, 3] {
            let mut to = Page::new(BATCH_BYTES_MIN);
            let mut copying = Copying::default();
            let mut expected = Vec::new();
            for (index, event) in from.events().enumerate() {
                let turn = (index / 50).to_string();
                let own = if step == 3 { index.to_string() } else { String::new() };
                let mut pairs = vec![("turn", turn.as_str()), ("id", own.as_str())];
                // The second half has lost a label of the first.
                pairs.extend((index < 50).then_some(("file", "/x")));
                pairs.retain(|pair| !pair.1.is_empty());
                copying.write(&event, b"new", &map(&pairs), &mut to).expect("room");
                let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
                pairs.sort();
                expected.push(pairs.join(" "));
            }
            let sorted = |event: Event<'_>| {
                let text = said(&event);
                let mut pairs: Vec<_> = text["new: ".len()..].split(' ').collect();
                pairs.sort_unstable();
                pairs.join(" ")
            };
            assert_eq!(to.events().map(sorted).collect::<Vec<_>>(), expected);
            let bytes = to.used().len();
            if step == 1 {
                assert!(bytes < 100 * 4 + 200, "two sets of labels, not a hundred: {bytes}");
            }
        }
    }
}
