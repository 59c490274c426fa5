//! `tls://` to receivers that look at our certificate when all seems agreed: whom they refuse has
//! sent nothing. Time stands still but for what a test adds to it.

use std::io::Write as _;
use std::net::TcpStream;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::forwarding::{Peer, written};
use super::*;
use crate::wire::tls::server::{self, Clients};
use crate::wire::tls::session::{SCRATCH_BYTES, Session};
use crate::wire::tls::{Identity, Versions, anchors};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// PEM of a certificate and its key.
fn issue(by: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    (params.signed_by(&key, by).expect("signed").pem(), key.serialize_pem())
}

/// A receiver, and the sink that is to send to it; both are stepped.
struct Pair {
    folder: TempDir,
    peer: Peer,
    server: server::Setup,
    session: Option<(TcpStream, Session)>,
    got: Vec<u8>,
    line: Line,
    worker: Box<dyn Worker>,
    helpers: Vec<Box<dyn Worker>>,
    now: Now,
    authority: Authority,
}

impl Pair {
    /// `ours`: whether the receiver's authority vouches for us; none without a certificate.
    fn new(clients: Clients, versions: Versions, ours: Option<bool>) -> Self {
        let (authority, stranger) = (authority(), authority());
        let folder = TempDir::new().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()))?;
            Ok::<_, io::Error>(path.display().to_string())
        };
        let mut tls = format!("ca = '{}'", file("ca.pem", &authority.pem()).expect("written"));
        if let Some(ours) = ours {
            let (pem, key) = issue(if ours { &authority } else { &stranger }, "sender.example");
            let (pem, key) = (file("own.pem", &pem), file("own.key", &key));
            let (pem, key) = (pem.expect("written"), key.expect("written"));
            tls.push_str(&format!(", certificate = '{pem}', key = '{key}'"));
        }
        let (pem, key) = issue(&authority, "127.0.0.1");
        let server = server::Setup::new(server::Options {
            identity: Identity::from_pem(pem.as_bytes(), key.as_bytes()).expect("good PEM"),
            clients,
            anchors: Some(anchors(authority.pem().as_bytes()).expect("good PEM"))
                .filter(|_| clients != Clients::None),
            peers: Default::default(),
            versions,
        });
        let peer = Peer::new();
        let target = peer.target().replace("tcp://", "tls://");
        let body = format!("targets = '{target}'\nbackoff_max = '10ms'\ntls = {{ {tls} }}");
        let section = Section::parse(&body, OPTIONS);
        let plan = plan(&section);
        assert!(!section.diagnostics().has_errors(), "{}", section.diagnostics().render(false));
        let line = Line::new();
        let mut built = plan.build(&line.context).expect("it builds");
        let worker = built.workers.pop();
        Self {
            folder,
            peer,
            server: server.expect("a good set-up"),
            session: None,
            got: Vec::new(),
            line,
            worker: worker.expect("one thread"),
            helpers: built.helpers,
            now: Now { mono: Mono(1), wall: Wall(0) },
            authority,
        }
    }

    /// Each end goes on as far as it can; whether both were seen idle is for `done` to say.
    #[track_caller]
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !done(self) {
            self.step();
            assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        }
    }

    fn step(&mut self) {
        self.helpers.iter_mut().for_each(|helper| _ = helper.work(self.now));
        self.worker.work(self.now);
        self.peer.accept();
        if let Some(socket) = self.peer.connections.pop() {
            self.session = Some((socket, self.server.session()));
        }
        let Some((socket, session)) = &mut self.session else { return };
        let (mut scratch, mut text) = (vec![0; SCRATCH_BYTES], vec![0; 64 << 10]);
        let open = session.advance(socket, &mut scratch);
        match open.and_then(|open| match open {
            true => session.read(socket, &mut scratch, &mut text),
            false => Ok(0),
        }) {
            Ok(count) => self.got.extend_from_slice(&text[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.session = None,
        }
    }

    /// The server's end of the handshake is done.
    fn agreed(&self) -> bool {
        self.session.as_ref().is_some_and(|(_, session)| session.is_open())
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.after(Duration::from_millis(ms)), wall: Wall(0) };
    }

    fn errors(&self) -> u64 {
        self.line.ledger.snapshot().sinks[0].errors
    }

    fn told(&self) -> String {
        self.line.context.incidents.list().into_iter().map(|one| one.what).collect()
    }
}

#[test]
fn who_is_refused_with_an_alert_has_sent_nothing() {
    for versions in [Versions::Only12, Versions::Only13] {
        for ours in [Some(false), None] {
            let mut pair = Pair::new(Clients::Required, versions, ours);
            pair.line.offer(&events(10), Marks::NONE);
            pair.until("it is refused", |pair| pair.errors() > 0);
            assert!(pair.told().contains("the peer refuses with"), "{}", pair.told());
            assert_eq!((written(&pair.line), pair.got.len()), (0, 0), "{versions:?} {ours:?}");
            assert!(pair.line.context.incidents.blocking().len() == 1);
        }
    }
}

/// As gtls does with every version, and any library whose program looks itself: agreed, and then
/// the connection is closed, after some time.
#[test]
fn who_is_left_after_all_was_agreed_has_sent_nothing() {
    for versions in [Versions::Only12, Versions::Only13] {
        let mut pair = Pair::new(Clients::Optional, versions, Some(true));
        pair.line.offer(&events(10), Marks::NONE);
        for round in 1..4 {
            pair.until("the server has agreed", Pair::agreed);
            pair.pass(499);
            (0..20).for_each(|_| pair.step());
            assert_eq!((written(&pair.line), pair.got.len()), (0, 0), "{versions:?}");
            pair.session = None;
            pair.until("that is seen", |pair| pair.errors() == round);
            assert!(pair.told().contains("it may not want our certificate"), "{}", pair.told());
            pair.pass(20);
        }
        // It changes its mind: all that was held arrives, once.
        pair.until("the server has agreed", Pair::agreed);
        pair.step();
        pair.pass(500);
        pair.until("it arrives", |pair| written(&pair.line) == 10 && !pair.got.is_empty());
        (0..20).for_each(|_| pair.step());
        assert_eq!(pair.got, framed(Framing::Newline, &events(10)));
        assert!(pair.line.context.incidents.blocking().is_empty());
        pair.line.adds_up();
        drop(pair.folder);
    }
}

/// A certificate that is renewed is shown without a restart, and half of a renewal never is.
#[test]
fn files_are_read_anew_when_they_change() {
    let mut pair = Pair::new(Clients::Required, Versions::Only12, Some(false));
    pair.line.offer(&events(10), Marks::NONE);
    pair.until("it is refused", |pair| pair.errors() > 0);
    let (pem, key) = issue(&pair.authority, "sender.example");
    let write = |pair: &Pair, name: &str, text: &str| {
        let path = pair.folder.path().join(name);
        let file = std::fs::File::create(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
    };
    write(&pair, "own.pem", &pem);
    for _ in 0..3 {
        pair.pass(1000);
        pair.step();
    }
    assert!(pair.told().contains("own.key is not the key of the certificate"), "{}", pair.told());
    assert_eq!(written(&pair.line), 0);
    write(&pair, "own.key", &key);
    for _ in 0..2 {
        pair.pass(1000);
        pair.step();
    }
    for _ in 0..20_000 {
        pair.pass(1);
        pair.step();
        if written(&pair.line) == 10 && !pair.got.is_empty() {
            break;
        }
    }
    assert_eq!(pair.got, framed(Framing::Newline, &events(10)));
    let open = pair.line.context.incidents.list().into_iter().filter(|one| one.ended.is_none());
    assert_eq!(open.count(), 0, "both are over");
}

#[test]
fn who_is_not_asked_for_a_certificate_sends_at_once() {
    let mut pair = Pair::new(Clients::None, Versions::Both, Some(true));
    pair.line.offer(&events(10), Marks::NONE);
    pair.until("it arrives", |pair| written(&pair.line) == 10 && !pair.got.is_empty());
    assert_eq!(pair.now.mono, Mono(1), "in no time");
}
