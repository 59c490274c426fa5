//! Senders whose lines are numbered and can be made again: what is in the files is compared with
//! what was sent, line by line.

use crate::harness::{lines_of, paths};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// One after the other on each connection, as fast as they are taken.
pub(crate) struct Senders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Senders {
    /// So many connections; they send until stopped, or until the agent hangs up.
    pub(crate) fn tcp(to: SocketAddr, connections: usize) -> Self {
        Self::tcp_from(to, 0, connections)
    }

    /// The same with numbers of senders from `first` on.
    pub(crate) fn tcp_from(to: SocketAddr, first: usize, connections: usize) -> Self {
        Self::start(connections, move |connection, stop| tcp(to, first + connection, stop))
    }

    /// So many sockets; a datagram that is sent may still be lost.
    pub(crate) fn udp(to: SocketAddr, sockets: usize) -> Self {
        Self::udp_from(to, 0, sockets)
    }

    pub(crate) fn udp_from(to: SocketAddr, first: usize, sockets: usize) -> Self {
        Self::start(sockets, move |sender, stop| udp(to, first + sender, stop))
    }

    fn start(
        count: usize,
        send: impl Fn(usize, &AtomicBool) -> u64 + Send + Copy + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|sender| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || send(sender, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// How many lines each has sent.
    pub(crate) fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn tcp(to: SocketAddr, connection: usize, stop: &AtomicBool) -> u64 {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let lines: String = (count..count + 100).map(|n| line(connection, n) + "\n").collect();
        if stream.write_all(lines.as_bytes()).is_err() {
            break;
        }
        count += 100;
    }
    count
}

fn udp(to: SocketAddr, sender: usize, stop: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        if socket.send(line(sender, count).as_bytes()).is_err() {
            break;
        }
        count += 1;
    }
    count
}

/// The line of a sender with this number: no two are equal, and none compresses to nothing.
pub(crate) fn line(sender: usize, count: u64) -> String {
    let mut noise = [0; 8];
    let mut mixed = (sender as u64) << 48 ^ count;
    for word in &mut noise {
        // splitmix64
        mixed = mixed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mix = mixed;
        mix = (mix ^ (mix >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mix = (mix ^ (mix >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        *word = mix ^ (mix >> 31);
    }
    let noise: String = noise.iter().map(|word| format!("{word:016x}")).collect();
    format!("<13>{sender} {count} {noise}")
}

/// Sender and number of a line that is exactly as it was sent.
#[track_caller]
pub(crate) fn number(text: &str) -> (usize, u64) {
    let words = text.strip_prefix("<13>").and_then(|text| text.split_once(' '));
    let parsed = words.and_then(|(sender, rest)| {
        let count = rest.split_once(' ')?.0;
        Some((sender.parse().ok()?, count.parse().ok()?))
    });
    let Some((sender, count)) = parsed else { panic!("no line of ours: {text:?}") };
    assert_eq!(text, line(sender, count), "corrupted");
    (sender, count)
}

/// Every line that was sent, once, and in the order of its sender.
#[track_caller]
pub(crate) fn assert_all(lines: &[String], sent: &[u64]) {
    let next = assert_ordered(lines, sent.len());
    assert_eq!(next, sent, "lines found and sent by each sender");
}

/// From each sender the first lines without a gap, in order; how many.
#[track_caller]
pub(crate) fn assert_ordered(lines: &[String], senders: usize) -> Vec<u64> {
    let mut next = vec![0; senders];
    for line in lines {
        let (sender, count) = number(line);
        assert_eq!(count, next[sender], "the next line of sender {sender}");
        next[sender] += 1;
    }
    next
}

/// A part of what was sent: of each sender, no line is missing between its first and its last.
#[track_caller]
pub(crate) fn assert_unbroken(lines: &[String], senders: usize) {
    let mut next = vec![None; senders];
    for line in lines {
        let (sender, count) = number(line);
        let due = next[sender].unwrap_or(count);
        assert_eq!(count, due, "the next line of sender {sender}");
        next[sender] = Some(count + 1);
    }
}

/// Datagrams: each at most once, and in the order of its sender; how many.
#[track_caller]
pub(crate) fn assert_rising(lines: &[String], senders: usize) -> u64 {
    let mut next = vec![0; senders];
    for line in lines {
        let (sender, count) = number(line);
        assert!(count >= next[sender], "{count} came after {} of sender {sender}", next[sender]);
        next[sender] = count + 1;
    }
    lines.len() as u64
}

/// The lines of all finished files below a folder, the oldest file first.
#[track_caller]
pub(crate) fn archive(folder: &Path) -> Vec<String> {
    finished(folder).iter().flat_map(|path| lines_of(path)).collect()
}

/// `out.log.zst`, `out.log.1.zst`, … `out.log.10.zst`: the finished files in that order.
pub(crate) fn finished(folder: &Path) -> Vec<PathBuf> {
    let mut files = paths(folder, "");
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.retain(|path| {
        let name = name(path);
        name.starts_with("out.log") && !name.ends_with(".open") && !name.ends_with(".bad")
    });
    files.sort_by_key(|path| {
        let name = name(path);
        name.split('.').find_map(|part| part.parse::<u64>().ok()).unwrap_or(0)
    });
    files
}
