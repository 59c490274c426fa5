//! Peers that answer: RELP, and TLS beneath.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::forwarding::{Peer, Sink, written};
use super::*;
use crate::wire::tls::peers::Peers;
use crate::wire::tls::server::{Clients, Options as ServerOptions, Setup};
use crate::wire::tls::session::{SCRATCH_BYTES, Session};
use crate::wire::tls::{Identity, Versions};

/// A RELP receiver that answers when the test says so.
#[derive(Default)]
pub(super) struct Relp {
    heard: Vec<u8>,
    /// Messages without an answer: number and text.
    pub(super) open: Vec<(u32, Vec<u8>)>,
    pub(super) answered: Vec<Vec<u8>>,
    pub(super) closed: bool,
}

impl Relp {
    /// Takes whole frames from what was heard; what must be said at once.
    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some((length, number, command, data)) = frame(&self.heard) {
            match command.as_str() {
                "open" => out.extend(b"1 rsp 38 200 OK\nrelp_version=0\ncommands=syslog\n\n"),
                "syslog" => self.open.push((number, data)),
                "close" => {
                    out.extend(format!("{number} rsp 0\n0 serverclose 0\n").as_bytes());
                    self.closed = true;
                }
                other => panic!("{other}"),
            }
            self.heard.drain(..length);
        }
        out
    }

    fn answer(&mut self, count: usize, judge: impl Fn(&[u8]) -> u16) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, text) in self.open.drain(..count.min(self.open.len())) {
            let code = judge(&text);
            out.extend(format!("{number} rsp 6 {code} ok\n").as_bytes());
            self.answered.push(text);
        }
        out
    }

    pub(super) fn serve(&mut self, socket: &mut TcpStream, answers: usize, code: u16) {
        self.judge(socket, answers, |_| code);
    }

    /// Answers up to so many, each by its text.
    pub(super) fn judge(
        &mut self,
        socket: &mut TcpStream,
        answers: usize,
        judge: impl Fn(&[u8]) -> u16,
    ) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut bytes) {
            self.heard.extend_from_slice(&bytes[..count]);
        }
        let mut out = self.take();
        out.extend(self.answer(answers, judge));
        socket.write_all(&out).expect("few bytes fit");
    }
}

/// `NUMBER COMMAND LENGTH[ DATA]\n` at the front: its length and parts.
fn frame(bytes: &[u8]) -> Option<(usize, u32, String, Vec<u8>)> {
    let mut words = bytes.splitn(3, |byte| *byte == b' ');
    let text = |word: &[u8]| String::from_utf8(word.to_vec()).expect("ASCII");
    let (number, command, rest) = (text(words.next()?), text(words.next()?), words.next()?);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length: usize = text(&rest[..digits]).parse().ok()?;
    let from = bytes.len() - rest.len() + digits + usize::from(length > 0);
    let data = bytes.get(from..from + length)?.to_vec();
    (bytes.get(from + length) == Some(&b'\n'))
        .then(|| (from + length + 1, number.parse().expect("a number"), command, data))
}

pub(super) fn relp_target(peer: &Peer) -> String {
    peer.target().replace("tcp://", "relp://")
}

#[test]
fn an_event_is_written_when_it_is_acknowledged() {
    let (mut peer, mut relp) = (Peer::new(), Relp::default());
    let target = relp_target(&peer);
    let mut sink = Sink::new(&format!("targets = '{target}'\nwindow = 7\nattempts = 1"));
    sink.line.offer(&events(20), Marks::NONE);
    sink.until("the window is full", |_| {
        peer.accept();
        peer.connections.iter_mut().for_each(|socket| relp.serve(socket, 0, 200));
        relp.open.len() == 7
    });
    for _ in 0..20 {
        sink.step();
    }
    assert_eq!(written(&sink.line), 0);
    sink.until("all but one have an answer", |_| {
        let count = usize::from(relp.answered.len() < 19);
        relp.serve(&mut peer.connections[0], count, 200);
        relp.answered.len() == 19 && relp.open.len() == 1
    });
    assert_eq!(written(&sink.line), 0, "the batch is not done");
    relp.serve(&mut peer.connections[0], 1, 500);
    sink.until("the batch is done", |line| written(line) == 19);
    assert_eq!(relp.answered, events(20));
    let snapshot = sink.line.ledger.snapshot();
    assert_eq!(snapshot.sinks[0].lost.get(LostReason::Refused), 1, "500 is no");
    sink.worker_closes(|| {
        relp.serve(&mut peer.connections[0], 0, 200);
        relp.closed
    });
}

/// The connection breaks after any number of answers: what was answered never comes again, what
/// was not always does.
#[test]
fn what_has_no_answer_comes_again_on_the_next_connection() {
    for answers in 0..12 {
        let mut peer = Peer::new();
        let mut sink = Sink::new(&format!(
            "targets = '{}'\nbackoff_max = '10ms'\nwindow = 5",
            relp_target(&peer)
        ));
        sink.line.offer(&events(12), Marks::NONE);
        let mut first = Relp::default();
        sink.until("so many are answered, and heard", |_| {
            peer.accept();
            let left = answers - first.answered.len();
            peer.connections.iter_mut().for_each(|socket| first.serve(socket, left, 200));
            // The window shows that the sink has heard the answers.
            first.answered.len() == answers && first.open.len() == 5.min(12 - answers)
        });
        peer.connections.clear();
        let mut second = Relp::default();
        sink.until("the rest is answered", |line| {
            peer.accept();
            peer.connections.iter_mut().for_each(|socket| second.serve(socket, 99, 200));
            written(line) == 12
        });
        assert_eq!(first.answered, events(12)[..answers]);
        assert_eq!(second.answered, events(12)[answers..], "after {answers} answers");
        sink.line.adds_up();
    }
}

// ── TLS ──

type Authority = CertifiedIssuer<'static, KeyPair>;

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
});

fn server(name: &str) -> Setup {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &*AUTHORITY).expect("signed").pem();
    let key = key.serialize_pem();
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("PEM");
    let (clients, anchors, peers) = (Clients::None, None, Peers::default());
    Setup::new(ServerOptions { identity, clients, anchors, peers, versions: Versions::Both })
        .expect("a server")
}

/// The authority's certificate in a file.
fn authority() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(AUTHORITY.pem().as_bytes()).expect("written");
    file
}

#[test]
fn lines_over_tls_and_only_to_whom_we_believe() {
    let ca = authority();
    for (name, believed) in [("127.0.0.1", true), ("somebody.example", false)] {
        let (mut peer, setup) = (Peer::new(), server(name));
        let mut sink = Sink::new(&format!(
            "targets = '{}'\nbackoff_max = '10ms'\ntls = {{ ca = '{}' }}\nframing = 'octet'",
            peer.target().replace("tcp://", "tls://"),
            ca.path().display()
        ));
        for _ in 0..3 {
            sink.line.offer(&events(200), Marks::NONE);
        }
        let whole = framed(Framing::Octet, &events(200)).repeat(3);
        let (mut session, mut got) = (None::<Session>, Vec::new());
        let (mut scratch, mut text) = (vec![0; SCRATCH_BYTES], vec![0; 64 << 10]);
        let mut serve = |peer: &mut Peer, got: &mut Vec<u8>| {
            peer.accept();
            let Some(socket) = peer.connections.last_mut() else { return };
            let session = session.get_or_insert_with(|| setup.session());
            while let Ok(count @ 1..) = session.read(socket, &mut scratch, &mut text) {
                got.extend_from_slice(&text[..count]);
            }
            session.push(socket);
        };
        if believed {
            sink.until("all is there", |line| {
                serve(&mut peer, &mut got);
                got.len() == whole.len() && written(line) == 600
            });
            assert!(got == whole);
        } else {
            sink.until("that is told", |line| {
                serve(&mut peer, &mut got);
                !line.context.incidents.blocking().is_empty()
            });
            let told = sink.line.context.incidents.blocking();
            assert!(told[0].contains("certificate"), "{told:?}");
            assert!(got.is_empty() && written(&sink.line) == 0);
        }
    }
}

#[test]
fn a_peer_without_tls_is_no_peer() {
    let (mut peer, ca) = (Peer::new(), authority());
    let mut sink = Sink::new(&format!(
        "targets = '{}'\ntls = {{ ca = '{}' }}\nconnect_timeout = '200ms'",
        peer.target().replace("tcp://", "tls://"),
        ca.path().display()
    ));
    sink.line.offer(&events(3), Marks::NONE);
    sink.until("it is left", |line| {
        peer.accept();
        !line.context.incidents.blocking().is_empty()
    });
    assert_eq!(written(&sink.line), 0);
}

#[test]
fn files_that_are_wrong_are_told_when_it_starts() {
    let body = |tls: &str| format!("targets = 'tls://127.0.0.1:6514'\ntls = {tls}");
    let refused = |tls: &str| {
        let section = Section::parse(&body(tls), OPTIONS);
        let plan = plan(&section);
        assert!(!section.diagnostics().has_errors(), "{}", section.diagnostics().render(false));
        plan.build(&Line::new().context).err().expect("refused").to_string()
    };
    let told = refused("{ ca = '/nowhere/ca.pem' }");
    assert!(told.starts_with("sinks.next cannot speak TLS: /nowhere/ca.pem: "), "{told}");
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let told = refused(&format!("{{ ca = '{}' }}", empty.path().display()));
    assert!(told.contains("holds no certificate: give a PEM file"), "{told}");
    for (tls, what) in [
        ("{ certificate = 'a.pem' }", "belong together (add `key = \"….pem\"`)"),
        ("{ peers = ['*.*.x'] }", "names no peer"),
        ("{ versions = ['1.1'] }", "\"1.1\" is no version of TLS"),
    ] {
        let section = Section::parse(&body(tls), OPTIONS);
        plan(&section);
        let told = section.diagnostics().lines().join("\n");
        assert!(told.contains(what), "{tls}: {told}");
    }
}
