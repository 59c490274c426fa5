//! What messages say, read once behind the framing: the fields that somebody wants, and no others.
//!
//! Every run of fresh events goes through here, whatever brought them. What is found stands beside
//! the event as ranges into its bytes (`event::parsed`). What cannot be parsed is kept whole,
//! marked `unparsed` and counted by its reason. Of a message that was split the first piece says
//! everything; the others are not looked at.

use super::zones::Zones;
use crate::event::parsed::{Oversize, start_of};
use crate::event::{Form, Found, Fresh, Marks, Page, Reading, Shape, Span};
use crate::limits::u32_of;
use crate::syslog::parse::{Arrival, Expect, Fields, Format, Message, Reason, Zone, parse};
use crate::telemetry::{SourceCounters, Unparsed};
use crate::time::Wall;

/// No zone changes its date within so long: zones are off by multiples of 15 minutes.
const QUARTER_NS: i64 = 15 * 60 * 1_000_000_000;

/// One thread's reader of messages.
pub struct Parser {
    wanted: Fields,
    shape: Shape,
    zones: Zones,
    /// One a zone, in their order.
    arrivals: Vec<Arrival>,
    /// The quarter of an hour for which the arrivals are right.
    quarter: i64,
    /// Since it was last asked for.
    unparsed: [u32; Unparsed::COUNT],
}

impl Parser {
    /// `None` when nothing is wanted but perhaps the PRI, which the framing reads.
    pub fn new(wanted: Fields, zones: &Zones) -> Option<Self> {
        let shape = shape(wanted);
        if shape == Shape::Bare {
            return None;
        }
        let arrival = |zone: &Zone| Arrival::new(Wall(0), zone.clone());
        let arrivals = zones.zones.iter().map(arrival).collect();
        let unparsed = [0; Unparsed::COUNT];
        Some(Self { wanted, shape, zones: zones.clone(), arrivals, quarter: -1, unparsed })
    }

    /// What a page to fill must have room for.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Reads the events that came since the last call.
    pub fn read(&mut self, page: &mut Page) {
        page.read_fresh(|event| self.read_event(&event));
    }

    /// The page was offered: what could not be parsed in it is counted.
    pub fn count(&mut self, counters: &SourceCounters) {
        for (why, count) in Unparsed::ALL.iter().zip(&mut self.unparsed) {
            if *count > 0 {
                counters.unparsed.add(*why, u64::from(std::mem::take(count)));
            }
        }
    }

    /// Not counted here: the events are counted elsewhere.
    pub fn forget(&mut self) {
        self.unparsed = [0; Unparsed::COUNT];
    }

    #[inline]
    fn read_event(&mut self, event: &Fresh<'_>) -> Reading {
        if event.marks.contains(Marks::UNPARSED) {
            // Nobody can read it, and its mark was counted when it was made.
            self.unparsed[Unparsed::Compressed as usize] += 1;
            return Reading { found: Found::only(Form::Unparsed), pri: None, unparsed: false };
        }
        // The framing tells the first piece by its PRI; a later one has none.
        if event.marks.contains(Marks::SPLIT) && event.pri.is_none() {
            return Reading { found: Found::only(Form::Unknown), pri: None, unparsed: false };
        }
        let message = parse(event.bytes, Expect::Auto, self.wanted);
        let found = match message.reason {
            Some(reason) => Err(unparsed(reason)),
            None => self.found(event, &message).map_err(|Oversize| Unparsed::Oversize),
        };
        let pri = message.pri;
        match found {
            Ok(found) => Reading { found, pri, unparsed: false },
            Err(why) => {
                self.unparsed[why as usize] += 1;
                Reading { found: Found::only(Form::Unparsed), pri, unparsed: true }
            }
        }
    }

    #[inline]
    fn found(&mut self, event: &Fresh<'_>, message: &Message<'_>) -> Result<Found, Oversize> {
        let bytes = event.bytes;
        let span = |field: Option<&[u8]>| Span::of(field, bytes);
        let mut found = Found {
            host: span(message.hostname)?,
            app: span(message.app_name)?,
            ..Found::only(form(message.format))
        };
        if self.wanted.contains(Fields::TIME)
            && let Some(time) = &message.time
        {
            let arrival = self.arrival(event);
            found.time = Some(arrival.resolve(time).wall());
        }
        if self.shape == Shape::Whole {
            found.proc_id = span(message.proc_id)?;
            found.msg_id = span(message.msg_id)?;
            found.message = message.message.map(|text| u32_of(start_of(text, bytes)));
            let data = message.data;
            if !data.is_empty() {
                let short = |value| u16::try_from(value).map_err(|_| Oversize);
                found.data = (short(start_of(data.raw, bytes))?, short(data.raw.len())?);
                found.nameless = data.is_nameless();
            }
        }
        Ok(found)
    }

    /// The year and zone for a time that came without them.
    fn arrival(&mut self, event: &Fresh<'_>) -> &mut Arrival {
        let quarter = event.at.0.div_euclid(QUARTER_NS);
        if quarter != self.quarter {
            self.quarter = quarter;
            self.arrivals.iter_mut().for_each(|arrival| arrival.turn_to(event.at));
        }
        let zone = match event.origin.peer {
            Some(peer) if self.zones.by_peer() => self.zones.of(Some(peer.ip())),
            _ => 0,
        };
        &mut self.arrivals[zone]
    }
}

/// The slots that these fields need.
pub fn shape(wanted: Fields) -> Shape {
    let front = [Fields::TIME, Fields::HOSTNAME, Fields::APP_NAME];
    let back = [Fields::PROC_ID, Fields::MSG_ID, Fields::DATA, Fields::MESSAGE];
    let any = |of: &[Fields]| of.iter().any(|field| wanted.contains(*field));
    match (any(&front), any(&back)) {
        (_, true) => Shape::Whole,
        (true, false) => Shape::Front,
        (false, false) => Shape::Bare,
    }
}

fn form(format: Format) -> Form {
    match format {
        Format::Rfc5424 => Form::Rfc5424,
        Format::Rfc3164 => Form::Rfc3164,
        Format::Unparsed => Form::Unparsed,
    }
}

/// Telemetry knows nothing of messages, so it has names of its own for the same reasons.
fn unparsed(reason: Reason) -> Unparsed {
    match reason {
        Reason::Empty => Unparsed::Empty,
        Reason::NoHeader => Unparsed::NoHeader,
        Reason::Pri => Unparsed::Pri,
        Reason::Version => Unparsed::Version,
        Reason::Timestamp => Unparsed::Timestamp,
        Reason::Hostname => Unparsed::Hostname,
        Reason::AppName => Unparsed::AppName,
        Reason::ProcId => Unparsed::ProcId,
        Reason::MsgId => Unparsed::MsgId,
        Reason::StructuredData => Unparsed::StructuredData,
        Reason::CutShort => Unparsed::CutShort,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventHead, Origin};
    use crate::limits::BATCH_BYTES_MIN;

    const AT: Wall = Wall(1_700_000_000_000_000_000);

    fn page(parser: &Parser) -> Page {
        let mut page = Page::new(BATCH_BYTES_MIN);
        page.keep_fields(parser.shape());
        page
    }

    fn push(page: &mut Page, peer: &str, text: &str, pri: Option<u8>, marks: Marks) {
        let peer = Some(peer.parse().unwrap());
        let origin = page.push_origin(Origin::new(peer, 0)).unwrap();
        page.append_event(text.as_bytes(), EventHead { at: AT, origin, pri, marks }).unwrap();
    }

    fn text(field: Option<&[u8]>) -> &str {
        std::str::from_utf8(field.unwrap_or(b"(none)")).unwrap()
    }

    #[test]
    fn the_reasons_have_the_parsers_names() {
        for reason in Reason::ALL {
            assert_eq!(unparsed(reason).name(), reason.name());
        }
        assert_eq!(Unparsed::COUNT, Reason::ALL.len() + 2);
    }

    #[test]
    fn nothing_beyond_the_pri_needs_no_parser() {
        assert!(Parser::new(Fields::NONE, &Zones::utc()).is_none());
        assert!(Parser::new(Fields::PRI, &Zones::utc()).is_none());
        assert_eq!(shape(Fields::HOSTNAME.union(Fields::PRI)), Shape::Front);
        assert_eq!(shape(Fields::HOSTNAME.union(Fields::DATA)), Shape::Whole);
    }

    #[test]
    fn what_is_wanted_stands_beside_each_event() {
        let mut parser = Parser::new(Fields::ALL, &Zones::utc()).unwrap();
        let mut page = page(&parser);
        let old = "<13>Oct 11 22:14:15 web01 su[7]: hello";
        let new = "<165>1 2003-10-11T22:14:15.003Z db evntslog 9 ID47 [a@1 b=\"c\"] text";
        push(&mut page, "10.0.0.1:1", old, None, Marks::NONE);
        parser.read(&mut page);
        push(&mut page, "10.0.0.2:1", new, None, Marks::NONE);
        push(&mut page, "10.0.0.2:1", "<13", None, Marks::CONTROL);
        parser.read(&mut page);
        let events: Vec<_> = page.events().collect();
        let [a, b, c] = events[..] else { panic!("three") };
        assert_eq!((a.bytes, a.pri, a.parsed().form()), (old.as_bytes(), Some(13), Form::Rfc3164));
        assert_eq!([text(a.parsed().host()), text(a.parsed().app())], ["web01", "su"]);
        assert_eq!([text(a.parsed().proc_id()), text(a.parsed().message())], ["7", "hello"]);
        assert_eq!(a.parsed().time(), Some(Wall(1_697_062_455_000_000_000)), "the receive year");
        assert_eq!((b.bytes, b.pri, b.parsed().form()), (new.as_bytes(), Some(165), Form::Rfc5424));
        assert_eq!([text(b.parsed().host()), text(b.parsed().msg_id())], ["db", "ID47"]);
        assert_eq!(text(Some(b.parsed().data())), "[a@1 b=\"c\"]");
        assert_eq!(b.parsed().time(), Some(Wall(1_065_910_455_003_000_000)));
        assert_eq!((c.parsed().form(), c.parsed().host()), (Form::Unparsed, None));
        assert!(c.marks.contains(Marks::UNPARSED.with(Marks::CONTROL)));
        assert_eq!(
            [a.origin, b.origin].map(|it| it.peer.unwrap().ip().to_string()),
            ["10.0.0.1", "10.0.0.2"]
        );
        assert_eq!(page.mark_counts(), [0, 0, 1, 0]);
        let counters = SourceCounters::default();
        parser.count(&counters);
        parser.count(&counters);
        assert_eq!(counters.unparsed[Unparsed::Pri].get(), 1);
        assert_eq!(counters.unparsed.values().iter().sum::<u64>(), 1);
    }

    #[test]
    fn only_the_first_piece_of_a_message_is_read() {
        let mut parser = Parser::new(Fields::HOSTNAME, &Zones::utc()).unwrap();
        let mut page = page(&parser);
        let first = "<13>Oct 11 22:14:15 web01 su: hel";
        push(&mut page, "10.0.0.1:1", first, Some(13), Marks::SPLIT);
        push(&mut page, "10.0.0.1:1", "lo", None, Marks::SPLIT);
        parser.read(&mut page);
        let events: Vec<_> = page.events().collect();
        assert_eq!(text(events[0].parsed().host()), "web01");
        assert_eq!((events[1].parsed().form(), events[1].parsed().host()), (Form::Unknown, None));
        assert_eq!(page.mark_counts(), [0, 2, 0, 0]);
    }

    #[test]
    fn a_name_that_is_too_long_leaves_the_message_unparsed() {
        let mut parser = Parser::new(Fields::HOSTNAME, &Zones::utc()).unwrap();
        let mut page = page(&parser);
        let long = format!("<13>Oct 11 22:14:15 {} su: hello", "h".repeat(256));
        push(&mut page, "10.0.0.1:1", &long, None, Marks::NONE);
        push(&mut page, "10.0.0.1:1", &long.replacen('h', "", 1), None, Marks::NONE);
        parser.read(&mut page);
        let forms: Vec<_> = page.events().map(|event| event.parsed().form()).collect();
        assert_eq!(forms, [Form::Unparsed, Form::Rfc3164]);
        assert_eq!(parser.unparsed[Unparsed::Oversize as usize], 1);
    }

    #[test]
    fn the_zone_is_the_peers() {
        const DOCS: &[crate::config::OptionDoc] =
            &[crate::source::zones::ZONE, crate::source::zones::ZONES];
        let section = crate::config::Section::parse(
            "zone = 'UTC'\nzones = { '10.0.0.0/8' = 'Asia/Tokyo' }",
            DOCS,
        );
        let mut parser = Parser::new(Fields::TIME, &Zones::plan(&section)).unwrap();
        let mut page = page(&parser);
        for peer in ["192.0.2.1:1", "10.0.0.1:1"] {
            push(&mut page, peer, "<13>Nov 14 22:14:15 h su: x", None, Marks::NONE);
        }
        parser.read(&mut page);
        let times: Vec<_> = page.events().map(|event| event.parsed().time().unwrap().0).collect();
        assert_eq!(times[0] - times[1], 9 * 3600 * 1_000_000_000);
    }
}
