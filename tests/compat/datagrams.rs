//! Records of datagrams, version 1, as an agent wrote them that was sent three over IPv4 and the
//! same three over IPv6.

use crate::file;
use flumen::archive::{Ending, visit};
use flumen::time::Wall;
use std::net::SocketAddr;
use std::ops::ControlFlow;

const BYTES: [&[u8]; 3] = [b"\0\x09flow\n", b"", b"\xff\0"];
const FOUR: [&str; 2] = ["127.0.0.1:40000", "127.0.0.3:2055"];
const SIX: [&str; 2] = ["[::1]:40001", "[::1]:2055"];
/// Behind 2026-11-21T21:01:07Z.
const NANOSECONDS: [i64; 6] =
    [893_710_047, 893_731_639, 893_735_054, 893_828_884, 893_836_796, 893_840_351];
const SECOND: i64 = 1_795_294_867;

#[test]
fn datagrams_of_version_1_are_read() {
    let mut found = Vec::new();
    let summary = visit(&file("v1/datagrams.rec.zst"), &mut |event| {
        let own = event.own.expect("a datagram");
        found.push((own.at, own.peer, own.local, own.truncated, event.text().into_owned()));
        ControlFlow::Continue(())
    });
    let summary = summary.expect("it reads");
    assert_eq!((summary.ending, summary.events), (Ending::Sealed, 6));
    let expected = [FOUR, SIX].into_iter().flat_map(|way| BYTES.map(|bytes| (way, bytes)));
    let address = |text: &str| Some(text.parse::<SocketAddr>().expect("an address"));
    let expected = expected.zip(NANOSECONDS).map(|((way, bytes), ns)| {
        let at = Wall(SECOND * 1_000_000_000 + ns);
        (at, address(way[0]), address(way[1]), false, bytes.to_vec())
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}
