//! Lines as senders of events wrap them: Flume's lists of JSON, memcached's stores.

/// One list of them all, each with a header.
pub(crate) fn list(lines: &[u8]) -> Vec<u8> {
    let event = |line| {
        let body = serde_json::to_string(line).expect("a text is JSON");
        format!("{{\"headers\":{{\"host\":\"web01\"}},\"body\":{body}}}")
    };
    let events: Vec<String> = texts(lines).map(event).collect();
    format!("[{}]", events.join(",")).into_bytes()
}

/// A store of each.
pub(crate) fn stores(lines: &[u8]) -> Vec<u8> {
    let store = |(number, line): (usize, &str)| {
        format!("set line-{number} 0 0 {}\r\n{line}\r\n", line.len())
    };
    texts(lines).enumerate().map(store).collect::<String>().into_bytes()
}

fn texts(lines: &[u8]) -> impl Iterator<Item = &str> {
    std::str::from_utf8(lines).expect("lines are text").lines()
}
