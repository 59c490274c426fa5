//! What a message says of itself, kept beside the event: ranges into the event's own bytes.
//!
//! ```text
//!  FRONT  0             8       11      14     15  16
//!         │ time, i64 ns │ host  │ app   │ form │tag │      a range: u16 start, u8 length
//!  BACK   0      3       6              10        13
//!         │ proc │ msg   │ data          │ message │ …     data: u16, u16; message: u24 start
//! ```
//! The slots stand behind their event's own. A page has them for all of its events or for none
//! ([`Shape`]), so nobody who wants nothing pays for them. A field that is longer, or lies further
//! back, than its range can say makes the whole message unparsed: half a name helps nobody.

use super::slot::{KIND_FIELDS, Slot};
use crate::time::Wall;

/// Which slots stand behind each event's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// None: nothing beyond the PRI is wanted.
    #[default]
    Bare,
    /// Time, host and app.
    Front,
    /// Everything.
    Whole,
}

impl Shape {
    /// Slots of an event, its own among them.
    pub(super) const fn stride(self) -> usize {
        match self {
            Self::Bare => 1,
            Self::Front => 2,
            Self::Whole => 3,
        }
    }
}

/// What a message was found to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Nobody asked, or it is a later piece of a message that was split.
    #[default]
    Unknown,
    Unparsed,
    Rfc3164,
    Rfc5424,
}

/// What a source found in an event, to be kept beside it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub form: Form,
    /// Its elements have no id of their own and go by the app's name.
    pub nameless: bool,
    pub time: Option<Wall>,
    pub host: Span,
    pub app: Span,
    pub proc_id: Span,
    pub msg_id: Span,
    /// Structured data as sent: start and length.
    pub data: (u16, u16),
    /// Where the text begins, which goes to the event's end.
    pub message: Option<u32>,
}

/// A short field: where it begins and how long it is. Without a length it is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u16,
    pub length: u8,
}

/// A field that its range cannot describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversize;

impl Span {
    /// The place of `field` in `bytes`, of which it is a slice.
    #[inline]
    pub fn of(field: Option<&[u8]>, bytes: &[u8]) -> Result<Self, Oversize> {
        let Some(field) = field else { return Ok(Self::default()) };
        let start = u16::try_from(start_of(field, bytes)).map_err(|_| Oversize)?;
        let length = u8::try_from(field.len()).map_err(|_| Oversize)?;
        Ok(Self { start, length })
    }
}

/// Where `field`, a slice of `bytes`, begins in it.
#[inline]
pub fn start_of(field: &[u8], bytes: &[u8]) -> usize {
    let start = (field.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    debug_assert!(start + field.len() <= bytes.len(), "a field is a slice of its message");
    start
}

/// Where the body of a message begins, whose host and app are slices of its bytes.
pub fn body_at(bytes: &[u8], form: Form, host: Option<&[u8]>, app: Option<&[u8]>) -> usize {
    let behind_blank = |at: usize| at + usize::from(bytes.get(at) == Some(&b' '));
    match (form, host, app) {
        // The version with its PRI, the time, the host name: three words, whatever is in them.
        (Form::Rfc5424, ..) => {
            memchr::memchr_iter(b' ', bytes).nth(2).map_or(bytes.len(), |at| at + 1)
        }
        (Form::Rfc3164, Some(host), _) => behind_blank(start_of(host, bytes) + host.len()),
        (Form::Rfc3164, None, Some(app)) => start_of(app, bytes),
        _ => 0,
    }
}

const NO_TIME: i64 = i64::MIN;
const NO_MESSAGE: u32 = 0xFF_FFFF;
const _: () = assert!(crate::limits::EVENT_BYTES_MAX < NO_MESSAGE as usize);
/// In the byte of the form, beside it.
const NAMELESS: u8 = 0x80;

impl Found {
    /// Nothing but what it is.
    pub const fn only(form: Form) -> Self {
        let none = Span { start: 0, length: 0 };
        Self {
            form,
            nameless: false,
            time: None,
            host: none,
            app: none,
            proc_id: none,
            msg_id: none,
            data: (0, 0),
            message: None,
        }
    }

    #[inline]
    pub(super) fn front(&self) -> Slot {
        let mut raw = [0u8; 16];
        raw[..8].copy_from_slice(&self.time.map_or(NO_TIME, |time| time.0).to_le_bytes());
        put(&mut raw[8..11], self.host);
        put(&mut raw[11..14], self.app);
        raw[14] = self.form as u8 | if self.nameless { NAMELESS } else { 0 };
        raw[15] = KIND_FIELDS;
        bytemuck::cast(raw)
    }

    #[inline]
    pub(super) fn back(&self) -> Slot {
        let mut raw = [0u8; 16];
        put(&mut raw[..3], self.proc_id);
        put(&mut raw[3..6], self.msg_id);
        raw[6..8].copy_from_slice(&self.data.0.to_le_bytes());
        raw[8..10].copy_from_slice(&self.data.1.to_le_bytes());
        raw[10..13].copy_from_slice(&self.message.unwrap_or(NO_MESSAGE).to_le_bytes()[..3]);
        raw[15] = KIND_FIELDS;
        bytemuck::cast(raw)
    }
}

#[inline]
fn put(raw: &mut [u8], span: Span) {
    raw[..2].copy_from_slice(&span.start.to_le_bytes());
    raw[2] = span.length;
}

/// An event's fields as a reader of a sealed page sees them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parsed<'page> {
    bytes: &'page [u8],
    /// As they lie in memory: BACK, if there is one, in front of FRONT. Empty: nothing was asked.
    slots: &'page [Slot],
}

impl<'page> Parsed<'page> {
    /// Nothing was parsed.
    pub const NONE: Self = Self { bytes: &[], slots: &[] };

    #[inline]
    pub(super) fn new(bytes: &'page [u8], slots: &'page [Slot]) -> Self {
        Self { bytes, slots }
    }

    /// Whether these slots lead nowhere outside an event of so many bytes.
    pub(super) fn fits(slots: &[Slot], bytes: usize) -> bool {
        let parsed = Parsed { bytes: &[], slots };
        let within = |raw: Option<&[u8; 16]>, at: usize| {
            raw.is_none_or(|raw| {
                let start = usize::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
                raw[at + 2] == 0 || start + usize::from(raw[at + 2]) <= bytes
            })
        };
        let (front, back) = (parsed.front(), parsed.back());
        let data = back.is_none_or(|raw| {
            let word = |at: usize| usize::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
            word(6) + word(8) <= bytes
        });
        let message = back.is_none_or(|raw| {
            let start = u32::from_le_bytes([raw[10], raw[11], raw[12], 0]);
            start == NO_MESSAGE || start as usize <= bytes
        });
        within(front, 8)
            && within(front, 11)
            && within(back, 0)
            && within(back, 3)
            && data
            && message
    }

    #[inline]
    fn front(&self) -> Option<&'page [u8; 16]> {
        self.slots.last().map(bytemuck::cast_ref)
    }

    #[inline]
    fn back(&self) -> Option<&'page [u8; 16]> {
        match self.slots {
            [back, _] => Some(bytemuck::cast_ref(back)),
            _ => None,
        }
    }

    #[inline]
    fn span(&self, raw: Option<&'page [u8; 16]>, at: usize) -> Option<&'page [u8]> {
        let raw = raw?;
        let length = usize::from(raw[at + 2]);
        let start = usize::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
        (length > 0).then(|| &self.bytes[start..start + length])
    }

    pub(super) fn slots(&self) -> &'page [Slot] {
        self.slots
    }

    pub fn form(&self) -> Form {
        match self.front().map_or(0, |raw| raw[14] & !NAMELESS) {
            1 => Form::Unparsed,
            2 => Form::Rfc3164,
            3 => Form::Rfc5424,
            _ => Form::Unknown,
        }
    }

    /// The time the message carries.
    #[inline]
    pub fn time(&self) -> Option<Wall> {
        let raw = self.front()?.first_chunk::<8>().expect("16 bytes hold 8");
        let time = i64::from_le_bytes(*raw);
        (time != NO_TIME).then_some(Wall(time))
    }

    #[inline]
    pub fn host(&self) -> Option<&'page [u8]> {
        self.span(self.front(), 8)
    }

    #[inline]
    pub fn app(&self) -> Option<&'page [u8]> {
        self.span(self.front(), 11)
    }

    pub fn proc_id(&self) -> Option<&'page [u8]> {
        self.span(self.back(), 0)
    }

    pub fn msg_id(&self) -> Option<&'page [u8]> {
        self.span(self.back(), 3)
    }

    /// Structured data as sent; empty when there is none.
    pub fn data(&self) -> &'page [u8] {
        let Some(raw) = self.back() else { return &[] };
        let start = usize::from(u16::from_le_bytes([raw[6], raw[7]]));
        let length = usize::from(u16::from_le_bytes([raw[8], raw[9]]));
        &self.bytes[start..start + length]
    }

    /// The name its elements go by, when they have none of their own.
    pub fn data_name(&self) -> Option<&'page [u8]> {
        let nameless = self.front().is_some_and(|raw| raw[14] & NAMELESS != 0);
        if nameless { self.app() } else { None }
    }

    /// Where the body begins: behind the host name, as Flume has it; 0 of what is no message.
    /// Host and app must have been asked for.
    pub fn body_at(&self) -> usize {
        body_at(self.bytes, self.form(), self.host(), self.app())
    }

    /// The text behind the header; `None` when there is none, or nobody asked.
    pub fn message(&self) -> Option<&'page [u8]> {
        let raw = self.back()?;
        let start = u32::from_le_bytes([raw[10], raw[11], raw[12], 0]);
        (start != NO_MESSAGE).then(|| &self.bytes[start as usize..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_what_is_read() {
        let bytes = b"host app 12 ID [a@1 b=\"c\"] text";
        let span = |field: &[u8]| Span::of(Some(field), bytes);
        let found = Found {
            form: Form::Rfc5424,
            nameless: true,
            time: Some(Wall(-7)),
            host: span(&bytes[..4]).unwrap(),
            app: span(&bytes[5..8]).unwrap(),
            proc_id: span(&bytes[9..11]).unwrap(),
            msg_id: span(&bytes[12..14]).unwrap(),
            data: (15, 11),
            message: Some(27),
        };
        let slots = [found.back(), found.front()];
        let whole = Parsed::new(bytes, &slots);
        assert_eq!((whole.form(), whole.time()), (Form::Rfc5424, Some(Wall(-7))));
        assert_eq!((whole.host(), whole.app()), (Some(&b"host"[..]), Some(&b"app"[..])));
        assert_eq!((whole.proc_id(), whole.msg_id()), (Some(&b"12"[..]), Some(&b"ID"[..])));
        assert_eq!(whole.data(), b"[a@1 b=\"c\"]");
        assert_eq!((whole.message(), whole.data_name()), (Some(&b"text"[..]), whole.app()));
        let front = Parsed::new(bytes, &slots[1..]);
        assert_eq!((front.host(), front.time()), (whole.host(), whole.time()));
        assert_eq!((front.proc_id(), front.message(), front.data()), (None, None, &b""[..]));
        assert_eq!((Parsed::NONE.form(), Parsed::NONE.host()), (Form::Unknown, None));
    }

    #[test]
    fn nothing_found_reads_as_nothing() {
        let found = Found::only(Form::Unparsed);
        let slots = [found.back(), found.front()];
        let parsed = Parsed::new(b"x", &slots);
        assert_eq!((parsed.form(), parsed.time()), (Form::Unparsed, None));
        assert_eq!((parsed.host(), parsed.app(), parsed.proc_id()), (None, None, None));
        assert_eq!((parsed.data(), parsed.message(), parsed.data_name()), (&b""[..], None, None));
    }

    #[test]
    fn what_a_range_cannot_say_is_refused() {
        let bytes = vec![b'x'; 70_000];
        assert_eq!(Span::of(Some(&bytes[65_535..65_790]), &bytes).map(|span| span.length), Ok(255));
        assert_eq!(Span::of(Some(&bytes[65_536..65_537]), &bytes), Err(Oversize));
        assert_eq!(Span::of(Some(&bytes[0..256]), &bytes), Err(Oversize));
        assert_eq!(Span::of(None, &bytes), Ok(Span::default()));
    }
}
