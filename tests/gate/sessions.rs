//! Sessions: TLS, whose library allocates by the record, and RELP and memcached, which answer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use flumen::sink::SINKS;
use flumen::wire::relp::Client;
use flumen::wire::tls::client::{Options, Setup, Trust};
use flumen::wire::tls::session::SCRATCH_BYTES;

use super::{Line, listening, nothing};

const TEXT: &str = "<13>Feb  5 17:32:18 host app[42]: some text and more of it\n";

/// Connects without waiting.
fn connect(line: &Line) -> TcpStream {
    let socket = TcpStream::connect(line.address()).expect("it listens");
    socket.set_nonblocking(true).expect("a socket");
    socket.set_nodelay(true).expect("a socket");
    socket
}

/// The session's own part (the rest of a record, what rustls does with one) is exempted; all that
/// stands above it is not.
#[test]
fn a_batch_over_tls_allocates_in_its_session_alone() {
    let papers = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let certificate = file("papers.pem", &papers.cert.pem());
    let key = file("papers.key", &papers.signing_key.serialize_pem());
    let tls = format!("tls = {{ certificate = '{certificate}', key = '{key}' }}");
    let text =
        listening("syslog", "tls://127.0.0.1:0").replace("[sinks", &format!("{tls}\n[sinks"));
    let mut line = Line::build(&text, SINKS);
    let setup = Setup::new(Options { trust: Trust::Anybody, ..Options::default() }).expect("good");
    let (mut socket, mut session) = (connect(&line), setup.session("localhost").expect("a name"));
    let (mut scratch, text) = (vec![0; SCRATCH_BYTES], TEXT.repeat(2000));
    let mut sent = 0;
    let spent = line.measure(|| {
        session.advance(&mut socket, &mut scratch).expect("it agrees");
        loop {
            match session.write(&mut socket, &text.as_bytes()[sent..]) {
                Ok(count) => sent = (sent + count) % text.len(),
                Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
    });
    nothing("syslog over TLS", spent);
}

/// Messages with their answers, which come when they are synced.
#[test]
fn a_batch_over_relp_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = format!("type = 'file'\npath = '{}/out.log'", dir.path().display());
    let text = listening("syslog", "relp://127.0.0.1:0").replace("type = 'null'", &file);
    let mut line = Line::build(&text, SINKS);
    let (mut socket, mut client) = (connect(&line), Client::new(2000));
    let (mut out, mut sent, mut bytes) = (Vec::new(), 0, vec![0; 64 << 10]);
    client.open(&mut out);
    let message = TEXT.trim_end().as_bytes();
    let spent = line.measure(|| {
        while let Ok(count) = socket.read(&mut bytes) {
            assert!(count > 0, "it hung up");
            client.hear(&bytes[..count], |_| ()).expect("it speaks RELP");
        }
        while client.room() > 0 {
            client.send(message, &mut out);
        }
        while let Ok(count) = socket.write(&out[sent..]) {
            sent += count;
            if sent == out.len() {
                out.clear();
                sent = 0;
                break;
            }
        }
    });
    nothing("syslog over RELP", spent);
}

/// Stores with their answers, and other commands between them, which are answered in order; with
/// keys that become headers.
#[test]
fn a_batch_over_memcached_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = format!(
        "type = 'file'\npath = '{}/out.log'\ncodec = 'none'\nencoder = 'header_and_text'",
        dir.path().display()
    );
    let text = listening("memcached", "tcp://127.0.0.1:0").replace("type = 'null'", &file);
    let mut line = Line::build(&text, SINKS);
    let mut socket = connect(&line);
    let text = TEXT.trim_end();
    let round = format!(
        "set key 0 0 {0}\r\n{text}\r\nget key\r\nadd other 1 60 {0} noreply\r\n{text}\r\nmn\r\n",
        text.len()
    );
    let (rounds, mut sent, mut bytes) = (round.repeat(50), 0, vec![0; 64 << 10]);
    let spent = line.measure(|| {
        while let Ok(count) = socket.read(&mut bytes) {
            assert!(count > 0, "it hung up");
        }
        while let Ok(count) = socket.write(&rounds.as_bytes()[sent..]) {
            sent = (sent + count) % rounds.len();
            if sent == 0 {
                break;
            }
        }
    });
    nothing("memcached", spent);
}
