//! One TLS connection: rustls' own loop, with a read buffer of its own in front, because rustls
//! itself reads 4 KiB a call.

use crate::block::Block;
use rustls::ServerConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

const READ_BYTES: usize = 64 << 10;

pub(crate) fn run(
    address: SocketAddr,
    certificate: &Path,
    key: &Path,
    block: &mut Block,
) -> io::Result<u64> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(io::Error::other)?.collect();
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    config.send_tls13_tickets = 0;
    let mut connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    let (mut socket, _) = TcpListener::bind(address)?.accept()?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            connection.read_tls(&mut bytes)?;
            connection.process_new_packets().map_err(io::Error::other)?;
            while connection.wants_write() {
                connection.write_tls(&mut socket)?;
            }
            loop {
                match connection.reader().read(block.spare()) {
                    Ok(0) => break,
                    Ok(count) => block.filled(count)?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
    block.put_out()?;
    Ok(block.events())
}
