//! `tls://` listeners: who is let in, what is told of the others, and that these hinder nobody.

use super::*;
use crate::wire::tls;
use crate::wire::tls::client::{Options, Setup, Trust};
use crate::wire::tls::session::{SCRATCH_BYTES, Session};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::Path;
use tempfile::TempDir;

/// A folder with an authority, `server.pem` and `server.key` by it, and what clients need.
struct Papers {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Self { folder: TempDir::new().unwrap(), authority };
        papers.write("ca.pem", papers.authority.pem().as_bytes());
        papers.renew();
        papers
    }

    fn write(&self, name: &str, contents: &[u8]) {
        let path = self.folder.path().join(name);
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        file.write_all(contents).unwrap();
        file.persist(path).unwrap();
    }

    fn path(&self, name: &str) -> String {
        Path::join(self.folder.path(), name).display().to_string()
    }

    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A new certificate for the server.
    fn renew(&self) {
        let (certificate, key) = self.issue("localhost");
        self.write("server.pem", certificate.as_bytes());
        self.write("server.key", key.as_bytes());
    }

    fn body(&self, more: &str) -> String {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        let tls = format!("certificate = '{certificate}', key = '{key}', {more}");
        format!("listen = ['tls://127.0.0.1:0', 'tcp://127.0.0.1:0']\ntls = {{ {tls} }}")
    }

    fn sender(&self, rig: &Rig, name: Option<&str>) -> Sender {
        let trust = Trust::Anchors(tls::anchors(self.authority.pem().as_bytes()).unwrap());
        let identity = name.map(|name| {
            let (certificate, key) = self.issue(name);
            tls::Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
        });
        let setup = Setup::new(Options { trust, identity, ..Options::default() }).unwrap();
        let socket = rig.connect();
        socket.set_nonblocking(true).unwrap();
        // Or the kernel keeps text back until the handshake's last message is acknowledged.
        socket.set_nodelay(true).unwrap();
        Sender { socket, session: setup.session("localhost").unwrap() }
    }
}

struct Sender {
    socket: TcpStream,
    session: Session,
}

impl Sender {
    /// Goes on with the handshake while the source does its part.
    fn open(&mut self, rig: &mut Rig) -> std::io::Result<()> {
        let mut scratch = vec![0; SCRATCH_BYTES];
        let began = Instant::now();
        while !self.session.advance(&mut self.socket, &mut scratch)? {
            assert!(began.elapsed() < Duration::from_secs(20));
            rig.step();
        }
        Ok(())
    }

    fn send(&mut self, rig: &mut Rig, text: &[u8]) {
        let mut sent = 0;
        while sent < text.len() || !self.session.is_pushed() {
            match self.session.write(&mut self.socket, &text[sent..]) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
            }
            rig.step();
        }
    }
}

impl Rig {
    fn step(&mut self) {
        let now = self.now();
        let until = now.mono.after(Duration::from_millis(1));
        self.sources[0].receive(&mut self.pages[0], now);
        self.sources[0].wait(now, until, true);
    }

    fn told(&self) -> Vec<String> {
        self.incidents.list().into_iter().map(|incident| incident.what).collect()
    }

    fn refused(&self) -> u64 {
        self.counters[0].refused_connections.get()
    }
}

#[test]
fn lines_come_through_and_a_goodbye_or_none_ends_them() {
    let papers = Papers::new();
    let mut rig = rig("syslog", &papers.body(""));
    let mut polite = papers.sender(&rig, None);
    let mut rude = papers.sender(&rig, None);
    for sender in [&mut polite, &mut rude] {
        sender.open(&mut rig).unwrap();
        sender.send(&mut rig, b"<13>line\n9 <14>count<15>last");
    }
    rig.until(|rig| rig.count() == 4);
    polite.session.close(&mut polite.socket);
    rig.until(|rig| rig.open() == 1);
    drop(rude);
    rig.until(|rig| rig.open() == 0);
    assert_eq!(rig.count(), 6);
    assert_eq!(rig.texts()[..2], ["<13>line", "<13>line"]);
    assert_eq!(rig.texts()[4..], ["<15>last", "<15>last"]);
    // One of them did not say goodbye.
    assert_eq!((rig.counters[0].errors.get(), rig.refused()), (1, 0));
}

#[test]
fn much_text_fills_page_after_page() {
    let papers = Papers::new();
    let mut rig = rig("tcp", &papers.body(""));
    let mut sender = papers.sender(&rig, None);
    sender.open(&mut rig).unwrap();
    let text: Vec<u8> = (0..40_000).flat_map(|n| format!("{n:0>99}\n").into_bytes()).collect();
    let (mut sent, mut got, mut serial) = (0, Vec::new(), 1);
    let began = Instant::now();
    while got.len() < text.len() {
        assert!(began.elapsed() < Duration::from_secs(20), "{} of {}", got.len(), text.len());
        if let Ok(count) = sender.session.write(&mut sender.socket, &text[sent..]) {
            sent += count;
        }
        let now = rig.now();
        let received = rig.sources[0].receive(&mut rig.pages[0], now);
        if received.full || (sent == text.len() && !received.more) {
            got.extend_from_slice(rig.pages[0].contiguous().unwrap());
            serial += 1;
            rig.pages[0].clear(serial);
        }
    }
    assert!(got == text);
    assert!(serial > 4);
}

#[test]
fn who_is_not_welcome_is_told_counted_and_hinders_nobody() {
    let papers = Papers::new();
    let ca = papers.path("ca.pem");
    let more = format!("clients = 'required', client_ca = '{ca}', peers = ['*.example']");
    let mut rig = rig("tcp", &papers.body(&more));
    let mut welcome = papers.sender(&rig, Some("one.example"));
    welcome.open(&mut rig).unwrap();
    welcome.send(&mut rig, b"before\n");
    let mut plain = rig.connect();
    plain.write_all(b"<13>hello in plain text\n").unwrap();
    rig.until(|rig| rig.refused() == 1);
    for (count, name) in [(2, None), (3, Some("one.other"))] {
        let mut sender = papers.sender(&rig, name);
        // With TLS 1.3 a client is done before the server has looked at its certificate.
        let _ = sender.open(&mut rig);
        rig.until(|rig| rig.refused() == count);
    }
    let mut mute = rig.connect();
    mute.write_all(b"\x16\x03").unwrap();
    rig.until(|rig| rig.open() == 2);
    rig.ahead = Duration::from_secs(11);
    rig.until(|rig| rig.refused() == 4 && rig.open() == 1);
    welcome.send(&mut rig, b"after\n");
    rig.until(|rig| rig.count() == 2);
    assert_eq!(rig.texts(), ["after", "before"]);
    let told = rig.told();
    assert!(told.iter().any(|what| what.contains("<13>hello in plain text")), "{told:#?}");
    assert!(told.iter().any(|what| what.contains("shows no certificate")), "{told:#?}");
    assert!(told.iter().any(|what| what.contains("(tls.handshake_timeout)")), "{told:#?}");
    // The second bad certificate is within the first one's minute.
    assert_eq!(told.len(), 3, "{told:#?}");
    rig.ahead = Duration::from_secs(80);
    rig.until(|rig| rig.told().len() == 4);
    let told = rig.told().pop().unwrap();
    assert!(told.contains("`one.other`, whom `peers` does not list"), "{told}");
}

/// A closed valve for longer than a handshake may take: who came before it, and who had begun, has
/// all of its time still; the time before and behind it counts.
#[test]
fn time_behind_a_closed_valve_is_not_the_senders() {
    let papers = Papers::new();
    let more = "handshake_timeout = '10s'";
    let body = format!("{}\nproxy_protocol = 'on'\nidle_timeout = '30s'", papers.body(more));
    let mut rig = rig("tcp", &body);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 6514\r\n";
    let mut open = papers.sender(&rig, None);
    open.socket.write_all(header).unwrap();
    open.open(&mut rig).unwrap();
    let mut begun = papers.sender(&rig, None);
    let silent = papers.sender(&rig, None);
    begun.socket.write_all(header).unwrap();
    rig.until(|rig| rig.open() == 3);
    rig.ahead = Duration::from_secs(4);
    rig.step();

    let now = rig.now();
    rig.sources[0].wait(now, now.mono, false);
    rig.ahead = Duration::from_secs(3600);
    let now = rig.now();
    rig.sources[0].wait(now, now.mono, false);
    rig.ahead = Duration::from_secs(7200);
    rig.step();
    assert_eq!((rig.open(), rig.refused()), (3, 0), "{:?}", rig.told());
    begun.open(&mut rig).unwrap();

    // Of their ten seconds the others have spent four, and two more now.
    rig.ahead = Duration::from_secs(7202);
    rig.step();
    assert_eq!((rig.open(), rig.refused()), (3, 0), "{:?}", rig.told());
    rig.ahead = Duration::from_secs(7208);
    rig.until(|rig| rig.open() == 2);
    assert_eq!(rig.refused(), 1, "{:?}", rig.told());
    rig.ahead = Duration::from_secs(7240);
    rig.until(|rig| rig.open() == 0);
    drop(silent);
}

#[test]
fn a_proxy_header_stands_in_front_of_the_handshake() {
    let papers = Papers::new();
    let mut rig = rig("tcp", &format!("{}\nproxy_protocol = 'on'", papers.body("")));
    let mut sender = papers.sender(&rig, None);
    sender.socket.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 6514\r\n").unwrap();
    sender.open(&mut rig).unwrap();
    sender.send(&mut rig, b"line\n");
    rig.until(|rig| rig.count() == 1);
    let peer = rig.pages[0].events().next().unwrap().origin.peer;
    assert_eq!(peer, Some("192.0.2.7:51234".parse().unwrap()));
    assert!(papers.sender(&rig, None).open(&mut rig).is_err(), "TLS at once is no header");
    rig.until(|rig| rig.refused() == 1 && rig.open() == 1);
}

/// Each event of a connection has the name of its certificate, in page after page, also the first,
/// which comes with the end of the handshake.
#[test]
fn events_know_whom_the_certificate_names() {
    let papers = Papers::new();
    let ca = papers.path("ca.pem");
    for (rules, name, said) in [
        ("clients = 'required', peers = ['*.example']", Some("Web.Example"), "Web.Example"),
        ("clients = 'required', peers = ['10.0.0.9']", Some("10.0.0.9"), "10.0.0.9"),
        ("clients = 'optional'", Some("a \"quoted\" ../name"), "a \"quoted\" ../name"),
        ("clients = 'optional'", None, ""),
    ] {
        let mut rig = rig("tcp", &papers.body(&format!("{rules}, client_ca = '{ca}'")));
        let mut sender = papers.sender(&rig, name);
        let mut scratch = vec![0; SCRATCH_BYTES];
        while !sender.session.advance(&mut sender.socket, &mut scratch).unwrap() {
            rig.step();
        }
        sender.session.write(&mut sender.socket, b"first\nsecond\n").unwrap();
        rig.until(|rig| rig.count() == 2);
        let names = |rig: &Rig| -> Vec<String> {
            rig.pages[0].events().map(|event| format!("{:?}", event.name())).collect()
        };
        assert_eq!(names(&rig), [format!("{said:?}"), format!("{said:?}")]);
        rig.pages[0].clear(2);
        sender.send(&mut rig, b"third\n");
        rig.until(|rig| rig.count() == 1);
        assert_eq!(names(&rig), [format!("{said:?}")]);
    }
}

#[test]
fn stopping_reads_what_has_come() {
    let papers = Papers::new();
    let mut rig = rig("tcp", &papers.body(""));
    let mut sender = papers.sender(&rig, None);
    sender.open(&mut rig).unwrap();
    let silent = papers.sender(&rig, None);
    sender.session.write(&mut sender.socket, b"one\ntwo\nhalf").unwrap();
    rig.stop();
    assert_eq!(rig.texts(), ["half", "one", "two"], "{:?}", rig.told());
    drop(silent);
}

#[test]
fn tls_connections_have_a_maximum_of_their_own() {
    let papers = Papers::new();
    let mut rig = rig("tcp", &papers.body("connections_max = 1"));
    let mut first = papers.sender(&rig, None);
    first.open(&mut rig).unwrap();
    let mut second = papers.sender(&rig, None);
    let mut plain = TcpStream::connect(rig.addresses[1]).unwrap();
    plain.write_all(b"plain\n").unwrap();
    rig.until(|rig| rig.count() == 1 && !rig.told().is_empty());
    assert_eq!(rig.open(), 2);
    drop(first);
    second.open(&mut rig).unwrap();
    second.send(&mut rig, b"second\n");
    rig.until(|rig| rig.count() == 2);
}

#[test]
fn new_certificates_are_taken_and_bad_ones_are_not() {
    let papers = Papers::new();
    let mut rig = rig("tcp", &papers.body(""));
    let shown = |rig: &mut Rig| {
        let mut sender = papers.sender(rig, None);
        sender.open(rig).unwrap();
        let certificate = sender.session.peer_certificate().unwrap().to_vec();
        (sender, certificate)
    };
    let (mut old, first) = shown(&mut rig);
    papers.write("server.key", b"nonsense");
    rig.until(|rig| !rig.told().is_empty());
    let told = rig.told().pop().unwrap();
    assert!(told.contains("server.key holds no private key"), "{told}");
    assert_eq!(shown(&mut rig).1, first);
    papers.renew();
    rig.until(|rig| rig.incidents.list()[0].ended.is_some());
    let began = Instant::now();
    while shown(&mut rig).1 == first {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    // Who was connected goes on.
    old.send(&mut rig, b"still here\n");
    rig.until(|rig| rig.texts().contains(&"still here".to_owned()));
}

#[test]
fn a_source_without_good_files_is_not_built() {
    let papers = Papers::new();
    papers.write("empty.pem", b"");
    for (more, what) in [
        ("certificate = 'nowhere.pem', key = 'x'", "nowhere.pem"),
        ("certificate = 'CA', key = 'KEY'", "is not the key of the certificate"),
        ("certificate = 'EMPTY', key = 'KEY'", "holds no certificate"),
    ] {
        let more = more
            .replace("CA", &papers.path("ca.pem"))
            .replace("KEY", &papers.path("server.key"))
            .replace("EMPTY", &papers.path("empty.pem"));
        let body = format!("listen = 'tls://127.0.0.1:0'\ntls = {{ {more} }}");
        let kind = SOURCES.iter().find(|row| row.name == "tcp").unwrap();
        let section = Section::parse(&body, kind.options);
        let plan = (kind.plan)(&section);
        assert!(!section.diagnostics().has_errors(), "{:?}", section.diagnostics().lines());
        let Err(error) = plan.build(&context(vec![Arc::default()], Incidents::new())) else {
            panic!("{more} was taken");
        };
        assert!(error.what.contains(what) && error.what.contains("sources.net: tls"), "{error}");
    }
}

#[test]
fn mistakes_in_the_table_are_told_with_a_remedy() {
    let tls = "certificate = 'c', key = 'k'";
    let cases = [
        ("", "needs a certificate"),
        ("tls = { key = 'k' }", "`certificate` is missing"),
        ("tls = { certificate = 'c' }", "`key` is missing"),
        ("tls = { TLS, clients = 'some' }", "some"),
        ("tls = { TLS, clients = 'required' }", "nobody vouches"),
        ("tls = { TLS, clients = 'required', peers = ['a'] }", "nobody vouches"),
        ("tls = { TLS, peers = ['a'] }", "`peers` has no effect"),
        ("tls = { TLS, client_ca = 'a' }", "`client_ca` has no effect"),
        ("tls = { TLS, clients = 'required', client_ca = 'c', peers = ['*'] }", "names no peer"),
        ("tls = { TLS, clients = 'required', peers = ['sha1:00'] }", "sha256 are"),
        ("tls = { TLS, versions = ['1.1'] }", "\"1.1\" is no version of TLS"),
        ("tls = { TLS, handshake_timeout = '1h' }", "handshake_timeout"),
        ("tls = { TLS, connections_max = 0 }", "connections_max"),
        ("tls = { TLS, certificat = 'c' }", "did you mean `certificate`?"),
    ];
    let kind = SOURCES.iter().find(|row| row.name == "syslog").unwrap();
    for (body, what) in cases {
        let body = format!("listen = 'tls://127.0.0.1:0'\n{}", body.replace("TLS", tls));
        let section = Section::parse(&body, kind.options);
        (kind.plan)(&section);
        section.finish();
        let lines = section.diagnostics().lines();
        assert!(lines.iter().any(|line| line.contains(what)), "{body}: {lines:?}");
    }
    let unused = format!("listen = 'tcp://127.0.0.1:0'\ntls = {{ {tls} }}");
    let section = Section::parse(&unused, kind.options);
    (kind.plan)(&section);
    assert!(section.diagnostics().lines()[0].contains("nothing listens for TLS"));
}
