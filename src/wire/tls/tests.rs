//! Servers and clients talking through two pipes in memory, stepped by hand.

use super::client::{self, Trust};
use super::fault::{Kind, fault_of};
use super::peers::{Peer, Peers};
use super::server::{self, Clients};
use super::session::{SCRATCH_BYTES, SESSION_BYTES_MAX, Session};
use super::*;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::LazyLock;

type Pem = (String, String);
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// PEM of a certificate for these names, and of its key.
fn issue(by: &Authority, name: &str) -> Pem {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

static OURS: LazyLock<Authority> = LazyLock::new(|| authority("ours"));
static SERVER: LazyLock<Pem> = LazyLock::new(|| issue(&OURS, "server.example"));

fn identity((certificate, key): &Pem) -> Identity {
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

fn trusting(authority: &Authority) -> RootCertStore {
    anchors(authority.pem().as_bytes()).unwrap()
}

fn server(clients: Clients, listed: &[&str], versions: Versions) -> server::Setup {
    let peers = Peers::new(listed.iter().map(|text| Peer::parse(text).unwrap()).collect());
    let anchors = Some(trusting(&OURS)).filter(|_| clients != Clients::None);
    let options =
        server::Options { identity: identity(&SERVER), clients, anchors, peers, versions };
    server::Setup::new(options).unwrap()
}

fn client(own: Option<&Pem>, versions: Versions) -> client::Setup {
    let trust = Trust::Anchors(trusting(&OURS));
    let identity = own.map(identity);
    client::Setup::new(client::Options { trust, identity, versions, ..Default::default() }).unwrap()
}

/// One direction: bytes, at most so many at a time, and whether the writer is gone.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    closed: bool,
}

/// A socket of a session: what comes in, what goes out, and how much a call moves.
#[derive(Clone)]
struct End {
    from: Rc<RefCell<Pipe>>,
    to: Rc<RefCell<Pipe>>,
    most: usize,
}

fn pair(most: usize) -> (End, End) {
    let (one, other) = (Rc::<RefCell<Pipe>>::default(), Rc::<RefCell<Pipe>>::default());
    (End { from: one.clone(), to: other.clone(), most }, End { from: other, to: one, most })
}

impl Read for End {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.from.borrow_mut();
        let count = into.len().min(self.most).min(pipe.bytes.len());
        if count == 0 && !pipe.closed {
            return Err(ErrorKind::WouldBlock.into());
        }
        into.iter_mut()
            .take(count)
            .zip(pipe.bytes.drain(..count))
            .for_each(|(to, from)| *to = from);
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.to.borrow_mut();
        let count = bytes.len().min(self.most).min((256 << 10) - pipe.bytes.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        pipe.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both ends go on until both are open, or one fails: (server's, client's) outcome.
fn shake(
    (server, at_server): (&mut Session, &mut End),
    (client, at_client): (&mut Session, &mut End),
) -> (io::Result<bool>, io::Result<bool>) {
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut outcomes = (Ok(false), Ok(false));
    for _ in 0..2000 {
        if outcomes.0.is_ok() {
            outcomes.0 = server.advance(at_server, &mut scratch);
        }
        if outcomes.1.is_ok() {
            outcomes.1 = client.advance(at_client, &mut scratch);
        }
        if matches!(outcomes, (Ok(true), Ok(true)) | (Err(_), Err(_))) {
            break;
        }
    }
    outcomes
}

fn connect(server: &server::Setup, client: &client::Setup) -> (io::Result<bool>, io::Result<bool>) {
    let (mut one, mut other) = (server.session(), client.session("server.example").unwrap());
    let (mut at_one, mut at_other) = pair(999);
    shake((&mut one, &mut at_one), (&mut other, &mut at_other))
}

fn kind(outcome: &io::Result<bool>) -> Option<Kind> {
    outcome.as_ref().err().and_then(fault_of).map(|fault| fault.kind)
}

/// Sends `text` in pieces; returns what the server reads with rooms of `room` bytes.
fn send(versions: Versions, text: &[u8], piece: usize, room: usize, most: usize) -> Vec<u8> {
    let (server, client) = (server(Clients::None, &[], versions), client(None, versions));
    let (mut server, mut client) = (server.session(), client.session("server.example").unwrap());
    let (mut at_server, mut at_client) = pair(most);
    let shaken = shake((&mut server, &mut at_server), (&mut client, &mut at_client));
    assert!(matches!(shaken, (Ok(true), Ok(true))), "{shaken:?}");
    let (mut sent, mut got, mut scratch) = (0, Vec::new(), vec![0; SCRATCH_BYTES]);
    let mut into = vec![0; room];
    let mut said_goodbye = false;
    loop {
        while sent < text.len() {
            let end = text.len().min(sent.saturating_add(piece));
            match client.write(&mut at_client, &text[sent..end]) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        client.push(&mut at_client);
        if sent == text.len() && !said_goodbye {
            client.close(&mut at_client);
            said_goodbye = true;
        }
        match server.read(&mut at_server, &mut scratch, &mut into) {
            Ok(0) => break,
            Ok(count) => got.extend_from_slice(&into[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(server.waiting_bytes() <= SESSION_BYTES_MAX);
    }
    assert!(!server.is_truncated());
    got
}

fn text(bytes: usize) -> Vec<u8> {
    (0_u32..).flat_map(|n| format!("<13>line {n}\n").into_bytes()).take(bytes).collect()
}

#[test]
fn text_arrives_whole_in_both_versions_and_any_portions() {
    let sample = text(300_000);
    for versions in [Versions::Only12, Versions::Only13, Versions::Both] {
        for (piece, room, most) in
            [(usize::MAX, 100_000, usize::MAX), (200, 4096, 70_000), (16_384, 1, 5000)]
        {
            let sample = if room == 1 { &sample[..40_000] } else { &sample[..] };
            assert!(send(versions, sample, piece, room, most) == sample, "{versions:?} {piece}");
        }
    }
}

/// Whoever is told that the socket is emptied waits for it to say that there is more, and it says
/// so once: text that was handed out from what had been read before proves nothing.
#[test]
fn a_session_says_it_is_emptied_only_of_what_it_has_looked_at() {
    let (server, client) =
        (server(Clients::None, &[], Versions::Both), client(None, Versions::Both));
    let (mut server, mut client) = (server.session(), client.session("server.example").unwrap());
    let (mut at_server, mut at_client) = pair(usize::MAX);
    let shaken = shake((&mut server, &mut at_server), (&mut client, &mut at_client));
    assert!(matches!(shaken, (Ok(true), Ok(true))), "{shaken:?}");
    // Records that have no room, or are handed out in parts.
    for room in [100, 3000, 17_000] {
        let (sample, mut scratch, mut into) = (text(60_000), vec![0; SCRATCH_BYTES], vec![0; room]);
        client.write(&mut at_client, &sample[..30_000]).unwrap();
        let mut got = Vec::new();
        let mut sent = 30_000;
        loop {
            match server.read(&mut at_server, &mut scratch, &mut into) {
                Ok(count) => got.extend_from_slice(&into[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            if server.is_emptied() {
                assert_eq!(got.len(), sent, "{room}");
                break;
            }
            // More comes while there is still some at hand.
            if sent < sample.len() {
                let end = sample.len().min(sent + 10_000);
                sent += client.write(&mut at_client, &sample[sent..end]).unwrap();
            }
        }
        assert!(got == sample[..sent] && sent == sample.len(), "{room}");
    }
}

#[test]
fn versions_that_are_not_taken_are_refused() {
    for (one, other) in [(Versions::Only12, Versions::Only13), (Versions::Only13, Versions::Only12)]
    {
        let outcome = connect(&server(Clients::None, &[], one), &client(None, other));
        assert_eq!(kind(&outcome.0), Some(Kind::Handshake), "{outcome:?}");
        assert_eq!(kind(&outcome.1), Some(Kind::RefusedByPeer), "{outcome:?}");
    }
}

#[test]
fn clients_are_let_in_as_the_rules_say() {
    let (known, stranger) = (issue(&OURS, "web1.example"), issue(&authority("x"), "web1.example"));
    let print = certificate::Fingerprint::of(identity(&stranger).certificate()).to_string();
    type Case<'a> = (Clients, &'a [&'a str], Option<&'a Pem>, bool);
    let cases: [Case<'_>; 12] = [
        (Clients::None, &[], None, true),
        (Clients::None, &[], Some(&stranger), true),
        (Clients::Optional, &[], None, true),
        (Clients::Optional, &[], Some(&known), true),
        (Clients::Optional, &[], Some(&stranger), false),
        (Clients::Required, &[], None, false),
        (Clients::Required, &[], Some(&known), true),
        (Clients::Required, &[], Some(&stranger), false),
        (Clients::Required, &["*.example"], Some(&known), true),
        (Clients::Required, &["web2.example"], Some(&known), false),
        (Clients::Required, &[&print], Some(&stranger), true),
        (Clients::Required, &[&print], Some(&known), false),
    ];
    for (clients, listed, own, welcome) in cases {
        for versions in [Versions::Only12, Versions::Only13] {
            let outcome = connect(&server(clients, listed, versions), &client(own, versions));
            let told = kind(&outcome.0);
            assert_eq!(
                told,
                (!welcome).then_some(Kind::Peer),
                "{clients:?} {listed:?} {outcome:?}"
            );
        }
    }
}

#[test]
fn the_peers_certificate_is_known_and_only_a_genuine_one() {
    let own = issue(&OURS, "web1.example");
    let server = server(Clients::Optional, &[], Versions::Both);
    for own in [Some(&own), None] {
        let client = client(own, Versions::Both);
        let mut one = server.session();
        let mut other = client.session("server.example").unwrap();
        let (mut at_one, mut at_other) = pair(usize::MAX);
        let _ = shake((&mut one, &mut at_one), (&mut other, &mut at_other));
        let name = one.peer_certificate().and_then(|der| certificate::Names::of(der).best());
        assert_eq!(name.as_deref(), own.map(|_| "web1.example"));
        assert_eq!(one.version(), Some("TLS 1.3"));
    }
}

#[test]
fn servers_are_trusted_as_the_rules_say() {
    let server = server(Clients::None, &[], Versions::Both);
    let print = certificate::Fingerprint::of(identity(&SERVER).certificate()).to_string();
    let strange = || Trust::Anchors(trusting(&authority("x")));
    let ours = || Trust::Anchors(trusting(&OURS));
    let cases: [(Trust, &[&str], &str, bool); 9] = [
        (ours(), &[], "server.example", true),
        (ours(), &[], "other.example", false),
        (ours(), &["server.example"], "127.0.0.1", true),
        (ours(), &["other.example"], "server.example", false),
        (strange(), &["server.example"], "server.example", false),
        (strange(), &[], "server.example", false),
        (Trust::Listed, &[&print], "other.example", true),
        (Trust::Listed, &[], "server.example", false),
        (Trust::Anybody, &[], "other.example", true),
    ];
    for (trust, listed, host, welcome) in cases {
        let peers = Peers::new(listed.iter().map(|text| Peer::parse(text).unwrap()).collect());
        let about = format!("{trust:?}").split('(').next().unwrap().to_owned();
        let options = client::Options { trust, peers, ..Default::default() };
        let client = client::Setup::new(options).unwrap();
        let (mut one, mut other) = (server.session(), client.session(host).unwrap());
        let (mut at_one, mut at_other) = pair(usize::MAX);
        let outcome = shake((&mut one, &mut at_one), (&mut other, &mut at_other));
        let told = kind(&outcome.1);
        assert_eq!(told, (!welcome).then_some(Kind::Peer), "{about} {listed:?} {host} {outcome:?}");
        if !welcome {
            assert_eq!(kind(&outcome.0), Some(Kind::RefusedByPeer), "{outcome:?}");
        }
    }
}

#[test]
fn plain_text_is_named_with_what_it_says() {
    let mut session = server(Clients::None, &[], Versions::Both).session();
    let (mut at_server, mut at_client) = pair(usize::MAX);
    at_client.write_all(b"<13>Oct 11 22:14:15 host app: hello\n").unwrap();
    let error =
        session.read(&mut at_server, &mut vec![0; SCRATCH_BYTES], &mut [0; 99]).unwrap_err();
    assert_eq!(fault_of(&error).unwrap().kind, Kind::PlainText);
    assert!(error.to_string().contains("\"<13>Oct 11 22:14:15 host app: hello\\n\""), "{error}");
}

#[test]
fn a_stream_that_just_ends_keeps_its_text_and_says_so() {
    for records in [0, 3] {
        let setups = (server(Clients::None, &[], Versions::Both), client(None, Versions::Both));
        let mut server = setups.0.session();
        let mut client = setups.1.session("server.example").unwrap();
        let (mut at_server, mut at_client) = pair(usize::MAX);
        let _ = shake((&mut server, &mut at_server), (&mut client, &mut at_client));
        for _ in 0..records {
            client.write(&mut at_client, b"line\n").unwrap();
        }
        // A record that was cut in the middle is of no use, and ends nothing else.
        client.write(&mut at_client, b"cut\n").unwrap();
        at_client.to.borrow_mut().bytes.pop_back();
        at_client.to.borrow_mut().closed = true;
        let (mut scratch, mut into) = (vec![0; SCRATCH_BYTES], [0; 99]);
        let mut got = Vec::new();
        loop {
            match server.read(&mut at_server, &mut scratch, &mut into).unwrap() {
                0 => break,
                count => got.extend_from_slice(&into[..count]),
            }
        }
        assert_eq!(got, b"line\n".repeat(records));
        assert!(server.is_truncated());
    }
}

#[test]
fn what_was_genuine_is_given_out_before_what_was_changed_is_told() {
    let setups = (server(Clients::None, &[], Versions::Both), client(None, Versions::Both));
    let mut server = setups.0.session();
    let mut client = setups.1.session("server.example").unwrap();
    let (mut at_server, mut at_client) = pair(usize::MAX);
    let _ = shake((&mut server, &mut at_server), (&mut client, &mut at_client));
    client.write(&mut at_client, b"good\n").unwrap();
    client.write(&mut at_client, b"changed\n").unwrap();
    *at_client.to.borrow_mut().bytes.back_mut().unwrap() ^= 1;
    let (mut scratch, mut into) = (vec![0; SCRATCH_BYTES], [0; 99]);
    assert_eq!(server.read(&mut at_server, &mut scratch, &mut into).unwrap(), 5);
    let error = server.read(&mut at_server, &mut scratch, &mut into).unwrap_err();
    assert_eq!(fault_of(&error).unwrap().kind, Kind::Broken);
    assert_eq!(server.read(&mut at_server, &mut scratch, &mut into).unwrap(), 0);
    // And the sender is told why.
    let error = client.read(&mut at_client, &mut scratch, &mut into).unwrap_err();
    assert_eq!(fault_of(&error).unwrap().kind, Kind::RefusedByPeer);
}

#[test]
fn bad_files_are_named_with_a_remedy() {
    let (certificate, key) = &*SERVER;
    let other = issue(&OURS, "x");
    let make = |certificate: &str, key: &str| {
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
        let (peers, anchors) = (Peers::default(), None);
        let versions = Versions::Both;
        let clients = Clients::None;
        server::Setup::new(server::Options { identity, clients, anchors, peers, versions })
    };
    assert!(make(certificate, key).is_ok());
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cases = [
        (key, key, About::Certificate, "holds no certificate"),
        (certificate, certificate, About::Key, "holds no private key"),
        (certificate, &other.1, About::Key, "not the key of the certificate"),
        (certificate, &encrypted, About::Key, "is encrypted"),
        (certificate, &String::new(), About::Key, "holds no private key"),
        (&"-----BEGIN CERTIFICATE-----\n!".to_owned(), key, About::Certificate, "PEM"),
    ];
    for (certificate, key, about, what) in cases {
        let error = make(certificate, key).unwrap_err();
        assert!(error.what.contains(what) && error.about == about, "{error:?}");
        assert!(!error.remedy.is_empty());
    }
    assert_eq!(anchors(b"").unwrap_err().about, About::Anchors);
}

/// Nothing, some of a TLS hello, and an SSL 2 hello.
const STARTS: &[&[u8]] = &[b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x80"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn portions_do_not_show(
        bytes in 0_usize..60_000,
        piece in 1_usize..20_000,
        room in 1_usize..50_000,
        most in 300_usize..40_000,
    ) {
        // A room of few bytes for much text only takes long.
        let bytes = bytes.min(room * 2000);
        let sample = text(bytes);
        prop_assert!(send(Versions::Both, &sample, piece, room, most) == sample);
    }

    #[test]
    fn garbage_ends_in_a_fault_and_never_in_a_panic(
        start in prop::sample::select(STARTS),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        hello in any::<bool>(),
        cut in any::<bool>(),
        most in 1_usize..700,
    ) {
        let setup = server(Clients::Optional, &[], Versions::Both);
        let mut session = setup.session();
        let (mut at_server, mut at_client) = pair(usize::MAX);
        at_server.most = most;
        if hello {
            // A real hello with some bytes changed, and garbage behind it.
            let mut client = client(None, Versions::Both).session("server.example").unwrap();
            client.push(&mut at_client);
            let pipe = &mut at_client.to.borrow_mut().bytes;
            if cut {
                // In two records: the second has the rest of the message.
                let whole: Vec<u8> = pipe.drain(..).collect();
                let (front, behind) = whole[5..].split_at(100);
                for part in [front, behind] {
                    pipe.extend(&[22, 3, 1, (part.len() >> 8) as u8, part.len() as u8]);
                    pipe.extend(part);
                }
            }
            for (at, value) in flips {
                let at = at.index(pipe.len());
                pipe[at] = value;
            }
        } else {
            at_client.write_all(start).unwrap();
        }
        at_client.write_all(&bytes).unwrap();
        at_client.to.borrow_mut().closed = true;
        let (mut scratch, mut into) = (vec![0; SCRATCH_BYTES], [0; 99]);
        for _ in 0..10_000 {
            match session.read(&mut at_server, &mut scratch, &mut into) {
                Ok(0) => return Ok(()),
                Ok(_) => prop_assert!(false, "text came out of garbage"),
                Err(_) => {}
            }
        }
        prop_assert!(false, "it never ended");
    }
}
