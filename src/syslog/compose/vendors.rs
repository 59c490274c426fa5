//! Headers as devices write them, each with a fault or freedom of its own that receivers must take.
//!
//! - Cisco ASA: the year behind the day, blanks around the colon, `%ASA-6-302013:`
//! - Cisco IOS: a sequence number, a clock that is not set (`*`), milliseconds, no host
//! - Juniper: RFC 5424 with the vendor's structured data and no text behind it but ours
//! - Palo Alto: RFC 3164 whose text is fields between commas
//! - Fortinet: `key=value` from the first byte on, no RFC's time at all
//! - MikroTik: topics in place of a header, no time, no host

use super::text::{Pen, Random};
use super::{Clock, Header};

pub(super) fn write_header(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    match random.below(6) {
        0 => asa(header, pen, random),
        1 => ios(header, pen, random),
        2 => juniper(header, pen, random),
        3 => palo_alto(header, pen, random),
        4 => fortinet(header, pen, random),
        _ => mikrotik(header, pen, random),
    }
}

/// `Nov 21 2026 03:19:48 host : %ASA-6-302013: `
fn asa(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    let Clock { short, long, .. } = header.clock;
    pen.text(short.first_chunk::<7>().expect("15 bytes"));
    pen.text(long.first_chunk::<4>().expect("20 bytes"));
    pen.text(short.last_chunk::<9>().expect("15 bytes"));
    pen.text(b" ");
    pen.word(&header.host.name);
    pen.text(b" : %ASA-");
    pen.decimal(u32::from(header.template.severity));
    pen.text(b"-");
    pen.six(302_013 + random.below(8));
    pen.text(b": ");
}

/// `1234: *Nov 21 03:19:48.123: %LINK-3-UPDOWN: `
fn ios(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    pen.decimal(random.below(1_000_000));
    pen.text(b": *");
    pen.text(&header.clock.short);
    pen.text(b".");
    let ms = header.at.0.rem_euclid(1_000_000_000) / 1_000_000;
    pen.three(ms as u32);
    pen.text(b": %LINK-");
    pen.decimal(u32::from(header.template.severity));
    pen.text(b"-UPDOWN: ");
}

/// `1 2026-11-21T03:19:48.123456Z host RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636… …] `
fn juniper(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    pen.text(b"1 ");
    header.write_time(pen);
    pen.word(&header.host.name);
    pen.text(b" RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.40 source-address=\"");
    pen.address(header.host.address);
    pen.text(b"\" source-port=\"");
    pen.decimal(1024 + random.below(60_000));
    pen.text(b"\"] ");
}

/// `Nov 21 03:19:48 host 1,2026/11/21 03:19:48,0123456789,TRAFFIC,end,`
fn palo_alto(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    pen.text(&header.clock.short);
    pen.text(b" ");
    pen.word(&header.host.name);
    pen.text(b" 1,");
    date(header.clock, *b"/", pen);
    pen.text(b" ");
    pen.text(header.clock.short.last_chunk::<8>().expect("15 bytes"));
    pen.text(b",0123");
    pen.six(random.below(1_000_000));
    pen.text(b",TRAFFIC,end,");
}

/// `date=2026-11-21 time=03:19:48 devname="host" devid="FG100F0000" type="traffic" `
fn fortinet(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    pen.text(b"date=");
    date(header.clock, *b"-", pen);
    pen.text(b" time=");
    pen.text(header.clock.short.last_chunk::<8>().expect("15 bytes"));
    pen.text(b" devname=\"");
    pen.word(&header.host.name);
    pen.text(b"\" devid=\"FG100F");
    pen.six(random.below(1_000_000));
    pen.text(b"\" type=\"traffic\" ");
}

/// `firewall,info input: in:ether1, src-mac …, `
fn mikrotik(header: &Header<'_>, pen: &mut Pen, random: &mut Random) {
    pen.text(b"firewall,info input: in:ether");
    pen.decimal(1 + random.below(8));
    pen.text(b", src ");
    pen.address(header.host.address);
    pen.text(b", ");
}

/// `2026-11-21`, with the separator asked for.
fn date(clock: &Clock, separator: [u8; 1], pen: &mut Pen) {
    let [y1, y2, y3, y4, _, m1, m2, _, d1, d2, ..] = clock.long;
    pen.text(&[y1, y2, y3, y4]);
    pen.text(&separator);
    pen.text(&[m1, m2]);
    pen.text(&separator);
    pen.text(&[d1, d2]);
}
