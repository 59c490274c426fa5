//! `reverse_dns`: what senders are called, as DNS, `/etc/hosts` and whatever else this machine is
//! set up to ask have it.
//!
//! ```text
//!   data threads ──of──▶ table, of fixed size      a name, or none yet: then the address is used
//!        │ address                ▲ name
//!        └──────▶ a few ──▶ threads "dns.net", which may block for as long as they like
//! ```
//! Nobody waits for an answer: events that come before it have the address. Answers are kept for an
//! hour, that there is no name for five minutes; then they are used until the next one is there,
//! also when there is none for want of a server. A name is used only if it could be one: an owner
//! of addresses can write anything there.
//!
//! Threading: data threads look once a visit of a connection, and once a page for each sender of
//! datagrams. Those that ask hold the table's lock while they enter an answer, never while they
//! ask; several, so that a name whose server is silent does not keep all others. They are no
//! workers: at a stop nobody waits for a resolver that does not answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};

use crate::config::OptionDoc;
use crate::runtime::thread;
use crate::time::Mono;

pub const REVERSE_DNS: OptionDoc = OptionDoc {
    name: "reverse_dns",
    default: Some("false"),
    doc: "%{host} of what names no host is the name that DNS has of its sender, once that is \
          known, instead of the address",
};

/// Senders that are remembered: a quarter of a million events a second from 8,000 of them costs
/// no more than from one.
const SENDERS_MAX: usize = 8192;
/// Questions that wait; what is not asked now is asked when the sender is seen again.
const QUESTIONS_MAX: usize = 256;
/// Questions that are asked at a time.
const ASKERS: usize = 4;
/// RFC 1035 2.3.4, less what is not text.
const NAME_BYTES_MAX: usize = 253;

const KNOWN: Duration = Duration::from_secs(3600);
const NAMELESS: Duration = Duration::from_secs(300);
/// Nobody answered.
const RETRY: Duration = Duration::from_secs(60);

/// Asks for the name of an address; none: it has none. An error: nobody could say.
pub type Lookup = Arc<dyn Fn(IpAddr) -> io::Result<Option<String>> + Send + Sync>;

/// A source's names.
#[derive(Clone)]
pub struct Reverse {
    table: Arc<Mutex<Table>>,
    questions: Sender<(IpAddr, Mono)>,
}

/// Two generations: when the younger is full the older is forgotten, and what is still seen has
/// moved by then.
struct Table {
    young: HashMap<IpAddr, Entry>,
    old: HashMap<IpAddr, Entry>,
}

#[derive(Clone, Default)]
struct Entry {
    name: Option<Arc<str>>,
    /// Asked again from then on.
    until: Mono,
    asked: bool,
}

impl Reverse {
    pub fn memory_bytes() -> usize {
        SENDERS_MAX * (2 * size_of::<(IpAddr, Entry)>() + NAME_BYTES_MAX)
    }

    /// Starts the threads, which end with the last that could ask them.
    pub fn start(source: &str, lookup: &Lookup) -> io::Result<Self> {
        let (questions, asked) = bounded::<(IpAddr, Mono)>(QUESTIONS_MAX);
        let generation = || HashMap::with_capacity(SENDERS_MAX / 2);
        let table = Arc::new(Mutex::new(Table { young: generation(), old: generation() }));
        for _ in 0..ASKERS {
            let (answers, lookup, asked) = (Arc::clone(&table), Arc::clone(lookup), asked.clone());
            thread::spawn(&format!("dns.{source}"), move || {
                for (address, at) in asked {
                    let answer = lookup(address).map(|name| name.as_deref().and_then(name_of));
                    lock(&answers).enter(address, answer, at);
                }
            })?;
        }
        Ok(Self { table, questions })
    }

    /// What the sender is called, as far as that is known; asks if it is not.
    pub fn of(&self, peer: Option<SocketAddr>, now: Mono) -> Option<Arc<str>> {
        let address = peer?.ip().to_canonical();
        let mut table = lock(&self.table);
        let entry = table.entry(address);
        if now >= entry.until && !entry.asked {
            entry.asked = self.questions.try_send((address, now)).is_ok();
        }
        entry.name.clone()
    }
}

impl Table {
    fn entry(&mut self, address: IpAddr) -> &mut Entry {
        if !self.young.contains_key(&address) {
            let entry = self.old.remove(&address).unwrap_or_default();
            if self.young.len() >= SENDERS_MAX / 2 {
                std::mem::swap(&mut self.young, &mut self.old);
                self.young.clear();
            }
            self.young.insert(address, entry);
        }
        self.young.get_mut(&address).expect("it was just put there")
    }

    fn enter(&mut self, address: IpAddr, answer: io::Result<Option<Arc<str>>>, at: Mono) {
        let entry = self.entry(address);
        entry.asked = false;
        entry.until = match answer {
            Ok(name) => {
                entry.name = name;
                at.after(if entry.name.is_some() { KNOWN } else { NAMELESS })
            }
            Err(_) => at.after(RETRY),
        };
    }
}

/// Asks this machine's resolver, which may take its time.
pub fn resolver() -> Lookup {
    Arc::new(|address| {
        let socket = SocketAddr::new(address, 0);
        match dns_lookup::getnameinfo(&socket, libc::NI_NAMEREQD | libc::NI_NUMERICSERV) {
            Ok((name, _)) => Ok(Some(name)),
            Err(error) if error.error_num() == libc::EAI_NONAME => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// The name, if it can be one of a host: letters, digits, hyphens, underscores and dots, and no
/// address, in which somebody else could be meant.
fn name_of(name: &str) -> Option<Arc<str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !name.starts_with(['.', '-'])
        && name.parse::<IpAddr>().is_err();
    good.then(|| Arc::from(name.to_ascii_lowercase()))
}

/// Whoever panicked left an entry as it was or as it is to be.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam::channel::{Receiver, unbounded};
    use std::time::Instant;

    type Answer = io::Result<Option<String>>;

    const SOON: Duration = Duration::from_secs(20);

    /// A resolver that says what it is told to, when it is told to; and what it is asked.
    fn told() -> (Reverse, Sender<Answer>, Receiver<IpAddr>) {
        let ((say, said), (ask, asked)) = (unbounded::<Answer>(), unbounded());
        // Once the test is over there is no name for anybody.
        let lookup: Lookup = Arc::new(move |address| {
            let _ = ask.send(address);
            said.recv().unwrap_or(Ok(None))
        });
        (Reverse::start("test", &lookup).unwrap(), say, asked)
    }

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(text.parse().unwrap(), 514))
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    /// Until a thread has entered the answer.
    #[track_caller]
    fn until_answered(reverse: &Reverse, address: &str) {
        let address = address.parse().unwrap();
        let began = Instant::now();
        while lock(&reverse.table).entry(address).asked {
            assert!(began.elapsed() < SOON, "no thread enters what {address} is called");
            std::thread::yield_now();
        }
    }

    /// The address that a thread asks for next.
    #[track_caller]
    fn next(asked: &Receiver<IpAddr>) -> IpAddr {
        asked.recv_timeout(SOON).expect("a thread asks")
    }

    #[test]
    fn nobody_waits_and_answers_have_their_time() {
        let (reverse, say, asked) = told();
        assert_eq!(reverse.of(None, at(1)), None);
        for _ in 0..3 {
            assert_eq!(reverse.of(peer("::ffff:192.0.2.7"), at(1)), None);
        }
        assert_eq!(next(&asked), "192.0.2.7".parse::<IpAddr>().unwrap());
        say.send(Ok(Some("Web-1.Example.".to_owned()))).unwrap();
        until_answered(&reverse, "192.0.2.7");
        let name = |seconds| reverse.of(peer("192.0.2.7"), at(seconds)).map(|it| it.to_string());
        assert_eq!(name(3600).as_deref(), Some("web-1.example"));
        assert!(asked.try_recv().is_err(), "asked once");
        // Then it is asked again; without a server the old name stays.
        assert_eq!(name(3601).as_deref(), Some("web-1.example"));
        next(&asked);
        say.send(Err(io::ErrorKind::TimedOut.into())).unwrap();
        until_answered(&reverse, "192.0.2.7");
        assert_eq!(name(3660).as_deref(), Some("web-1.example"));
        assert!(asked.try_recv().is_err());
        name(3661);
        next(&asked);
        say.send(Ok(None)).unwrap();
        until_answered(&reverse, "192.0.2.7");
        assert_eq!(name(3661 + 299), None);
        assert!(asked.try_recv().is_err());
        name(3661 + 300);
        next(&asked);
    }

    #[test]
    fn a_flood_of_senders_is_forgotten_and_whoever_is_seen_stays() {
        let (reverse, say, asked) = told();
        reverse.of(peer("192.0.2.7"), at(1));
        next(&asked);
        say.send(Ok(Some("web".to_owned()))).unwrap();
        until_answered(&reverse, "192.0.2.7");
        for number in 0..5 * SENDERS_MAX as u32 {
            reverse.of(Some(SocketAddr::new(IpAddr::from(number.to_be_bytes()), 9)), at(1));
            if number % 1000 == 0 {
                assert_eq!(reverse.of(peer("192.0.2.7"), at(2)).as_deref(), Some("web"));
            }
        }
        let table = lock(&reverse.table);
        assert!(table.young.len() + table.old.len() <= SENDERS_MAX);
        let waiting = table.young.values().chain(table.old.values()).filter(|it| it.asked).count();
        assert!(waiting <= QUESTIONS_MAX + ASKERS, "{waiting}");
        drop(table);
        drop(say);
    }

    /// Some servers never answer; the others' names are known all the same.
    #[test]
    fn a_silent_server_does_not_keep_the_names_of_others() {
        let (silence, silent) = unbounded::<()>();
        let lookup: Lookup = Arc::new(move |address: IpAddr| {
            if address.is_loopback() {
                let _ = silent.recv();
            }
            Ok(Some(format!("host-{address}").replace('.', "-")))
        });
        let reverse = Reverse::start("test", &lookup).unwrap();
        for last in 1..ASKERS {
            reverse.of(peer(&format!("127.0.0.{last}")), at(1));
        }
        reverse.of(peer("192.0.2.7"), at(1));
        until_answered(&reverse, "192.0.2.7");
        let name = reverse.of(peer("192.0.2.7"), at(2));
        assert_eq!(name.as_deref(), Some("host-192-0-2-7"));
        assert_eq!(reverse.of(peer("127.0.0.1"), at(2)), None);
        drop(silence);
        until_answered(&reverse, "127.0.0.1");
        assert!(reverse.of(peer("127.0.0.1"), at(2)).is_some());
    }

    #[test]
    fn what_is_no_name_of_a_host_is_none() {
        for (said, name) in [
            ("Web-1.example.", Some("web-1.example")),
            ("a_b.c", Some("a_b.c")),
            ("10.0.0.1", None),
            ("10.1", None),
            ("::1", None),
            ("fe80::1", None),
            ("a/../b", None),
            ("a b", None),
            ("a\nb", None),
            ("-x", None),
            (".x", None),
            ("", None),
            (".", None),
            ("m\u{fc}ller", None),
            (&"x".repeat(254), None),
        ] {
            assert_eq!(name_of(said).as_deref(), name, "{said:?}");
        }
    }
}
