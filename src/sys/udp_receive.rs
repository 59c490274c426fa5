//! Many datagrams with one system call: recvmmsg into slots that are set up once.
//!
//! ```text
//!   buffers   [slot 0 ........ ][slot 1 ........ ][slot 2 ........ ] 64 KiB + 1 each, in virtual
//!   headers   [mmsghdr][mmsghdr][mmsghdr]                            memory; touched only as used
//! ```
//!
//! Here because std, mio and socket2 know neither recvmmsg nor `UDP_GRO`, `SO_MEMINFO` and
//! `SO_RCVBUFFORCE`. One thread owns a ring; `receive` never blocks; nothing is allocated after
//! `new`. The kernel writes the lengths it used over the lengths it was given, so every header is
//! made afresh for every call: a ring that skips this loses its control messages after one plain
//! datagram, and with GRO on several datagrams would then be taken for one.
#![expect(unsafe_code, reason = "system calls that std, mio and socket2 do not offer")]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::credentials::Credentials;
use super::socket_option::set_int;

/// One byte more than any datagram, so that a cut one is seen as cut.
pub const SLOT_BYTES: usize = 64 * 1024 + 1;

/// Slots start this much further apart than a multiple of 64 KiB would put them. At exact powers of
/// two all slots share the same few cache sets and evict one another: 5 lines apart they do not.
const STAGGER_BYTES: usize = 5 * 64;

/// Room for the control messages we may ask for, each behind a head of 16 bytes: the time (16), the
/// address it came to (12, of IPv6 20) and `UDP_GRO` (4); or a Unix socket's `SCM_CREDENTIALS`.
const CONTROL_BYTES: usize = 128;

/// One received datagram, or with GRO a run of equal ones.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    pub bytes: &'a [u8],
    pub peer: Option<SocketAddr>,
    /// Who sent it, if the socket asks for that.
    pub credentials: Option<Credentials>,
    /// The datagram was longer than the slot; `bytes` is its beginning.
    pub truncated: bool,
    /// GRO: `bytes` holds several datagrams of this length, the last may be shorter.
    pub stride: Option<usize>,
    /// When the kernel had it (with GRO: the first of them), ns since 1970, if it was asked to say.
    pub at_ns: Option<i64>,
    /// The address it was sent to, if the socket tells.
    pub local: Option<IpAddr>,
}

impl<'a> Slot<'a> {
    /// The datagrams in the slot: one, empty or not, unless GRO glued several together.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let stride = self.stride.unwrap_or(usize::MAX).max(1);
        let bytes = self.bytes;
        // `chunks` of nothing is nothing, but an empty datagram is a datagram.
        let empty = if bytes.is_empty() { Some(bytes) } else { None };
        empty.into_iter().chain(bytes.chunks(stride))
    }
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// What a header of the last call said, copied out so that no raw pointer outlives the call.
#[derive(Clone, Copy, Default)]
struct Filled {
    length: usize,
    peer: Option<SocketAddr>,
    credentials: Option<Credentials>,
    truncated: bool,
    stride: Option<usize>,
    at_ns: Option<i64>,
    local: Option<IpAddr>,
}

pub struct ReceiveRing {
    buffers: Vec<u8>,
    slot_bytes: usize,
    step_bytes: usize,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: Vec<Filled>,
    count: usize,
}

// SAFETY: the raw pointers in `vectors` and `headers` are rewritten at the head of every `receive`
// from the ring's own buffers and never read after it, so the ring may move to another thread.
unsafe impl Send for ReceiveRing {}

impl ReceiveRing {
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        assert!(slots > 0 && slot_bytes > 0, "a ring has slots and a slot has room");
        let step_bytes = slot_bytes.next_multiple_of(64) + STAGGER_BYTES;
        // SAFETY: all three are plain C structs for which all-zero bytes are a value.
        let (name, vector, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Self {
            buffers: vec![0; slots * step_bytes],
            slot_bytes,
            step_bytes,
            names: vec![name; slots],
            controls: vec![Control([0; CONTROL_BYTES]); slots],
            vectors: vec![vector; slots],
            headers: vec![header; slots],
            filled: vec![Filled::default(); slots],
            count: 0,
        }
    }

    /// Memory a ring of this shape takes when every slot has been filled to the brim.
    pub fn memory_bytes(slots: usize, slot_bytes: usize) -> usize {
        slots * (slot_bytes.next_multiple_of(64) + STAGGER_BYTES + 512)
    }

    /// Receives what is there, up to one datagram a slot, without blocking. `WouldBlock` when
    /// there is nothing. The slots of the call before are overwritten.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        self.reset();
        let slots = self.headers.len() as libc::c_uint;
        let count = loop {
            // SAFETY: `headers` has `slots` entries; `reset` pointed each at a name, a vector and
            // a control buffer of ours with their true sizes; none of these Vecs is touched until
            // the call returns; a null timeout is allowed.
            let count = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    slots,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            if count >= 0 {
                break usize::try_from(count).expect("checked to be positive");
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        };
        for index in 0..count {
            self.filled[index] = self.read_header(index);
        }
        self.count = count;
        Ok(count)
    }

    /// How many datagrams a `receive` may bring.
    pub fn slots(&self) -> usize {
        self.headers.len()
    }

    /// How many slots the last `receive` filled.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn slot(&self, index: usize) -> Slot<'_> {
        assert!(index < self.count, "only filled slots are read");
        let filled = self.filled[index];
        let start = index * self.step_bytes;
        Slot {
            bytes: &self.buffers[start..start + filled.length],
            peer: filled.peer,
            credentials: filled.credentials,
            truncated: filled.truncated,
            stride: filled.stride,
            at_ns: filled.at_ns,
            local: filled.local,
        }
    }

    fn reset(&mut self) {
        let base = self.buffers.as_mut_ptr();
        for index in 0..self.headers.len() {
            self.vectors[index] = libc::iovec {
                // SAFETY: index < slots and `buffers` is slots * step_bytes long.
                iov_base: unsafe { base.add(index * self.step_bytes) }.cast(),
                iov_len: self.slot_bytes,
            };
        }
        for index in 0..self.headers.len() {
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = ptr::from_mut(&mut self.names[index]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
    }

    fn read_header(&self, index: usize) -> Filled {
        let message = &self.headers[index];
        let header = &message.msg_hdr;
        let mut filled = Filled {
            length: (message.msg_len as usize).min(self.slot_bytes),
            peer: peer(&self.names[index], header.msg_namelen as usize),
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            ..Filled::default()
        };
        // SAFETY: the kernel filled `header` and its control buffer in the call just made; the
        // macros stay inside msg_controllen, which the kernel set to what it wrote.
        unsafe {
            let mut control = libc::CMSG_FIRSTHDR(header);
            while !control.is_null() {
                let data = libc::CMSG_DATA(control);
                match ((*control).cmsg_level, (*control).cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let value = ptr::read_unaligned(data.cast::<libc::c_int>());
                        filled.stride = usize::try_from(value).ok().filter(|value| *value > 0);
                    }
                    (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                        let value = ptr::read_unaligned(data.cast::<libc::ucred>());
                        filled.credentials = Some(Credentials::of(value));
                    }
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let value = ptr::read_unaligned(data.cast::<libc::timespec>());
                        let seconds = value.tv_sec.checked_mul(1_000_000_000);
                        filled.at_ns = seconds.and_then(|ns| ns.checked_add(value.tv_nsec));
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let value = ptr::read_unaligned(data.cast::<libc::in_pktinfo>());
                        let ip = Ipv4Addr::from(u32::from_be(value.ipi_addr.s_addr));
                        filled.local = Some(ip.into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let value = ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                        let ip = Ipv6Addr::from(value.ipi6_addr.s6_addr);
                        filled.local = Some(ip.to_canonical());
                    }
                    _ => {}
                }
                control = libc::CMSG_NXTHDR(header, control);
            }
        }
        filled
    }
}

fn peer(name: &libc::sockaddr_storage, length: usize) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET if length >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: sockaddr_storage is larger than and aligned for every address, and the
            // kernel says that it wrote this one.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 if length >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            match ip.to_ipv4_mapped() {
                Some(ip) => Some(SocketAddrV4::new(ip, port).into()),
                None => Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into()),
            }
        }
        _ => None,
    }
}

/// Asks for a receive buffer of `bytes` and says what the socket really has, in the same measure
/// (the kernel doubles what it is asked for, for its own bookkeeping; so the half is returned).
/// With CAP_NET_ADMIN the system's `net.core.rmem_max` does not apply.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    if set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value).is_err() {
        set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, value)?;
    }
    Ok(memory_info(socket)?[MEMORY_RCVBUF] as usize / 2)
}

/// Turns on merging of equal datagrams of one flow in the kernel.
pub fn set_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_int(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Asks the kernel to say of every datagram when it came, and to which address of ours.
pub fn set_exact(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    set_int(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    if v6 {
        set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_int(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Datagrams that arrived at this socket and were dropped by the kernel: since it was opened,
/// modulo 2^32, exact now (the control message `SO_RXQ_OVFL` lags by one datagram).
pub fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(memory_info(socket)?[MEMORY_DROPS])
}

/// Indices into SO_MEMINFO, from linux/sock_diag.h.
const MEMORY_RCVBUF: usize = 1;
const MEMORY_DROPS: usize = 8;
const MEMORY_COUNT: usize = 9;

fn memory_info(socket: BorrowedFd<'_>) -> io::Result<[u32; MEMORY_COUNT]> {
    let mut values = [0_u32; MEMORY_COUNT];
    let mut length = mem::size_of_val(&values) as libc::socklen_t;
    // SAFETY: `values` is `length` bytes of plain integers and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(values) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    fn texts(ring: &ReceiveRing) -> Vec<Vec<u8>> {
        (0..ring.count()).flat_map(|i| ring.slot(i).datagrams().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn datagrams_come_one_a_slot_with_their_peer_and_empty_ones_too() {
        let (sender, receiver) = pair();
        let mut ring = ReceiveRing::new(4, SLOT_BYTES);
        assert_eq!(ring.receive(receiver.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for text in ["one", "", "three", "four", "five"] {
            sender.send(text.as_bytes()).unwrap();
        }
        assert_eq!(ring.receive(receiver.as_fd()).unwrap(), 4);
        assert_eq!(texts(&ring), [&b"one"[..], b"", b"three", b"four"]);
        assert_eq!(ring.slot(0).peer, Some(sender.local_addr().unwrap()));
        assert_eq!(ring.receive(receiver.as_fd()).unwrap(), 1);
        assert_eq!(texts(&ring), [b"five"]);
    }

    #[test]
    fn the_largest_datagram_fits_and_a_longer_one_than_the_slot_is_marked() {
        let (sender, receiver) = pair();
        let large = vec![b'x'; 65_507];
        let mut ring = ReceiveRing::new(2, SLOT_BYTES);
        sender.send(&large).unwrap();
        ring.receive(receiver.as_fd()).unwrap();
        assert!(ring.slot(0).bytes == large && !ring.slot(0).truncated);

        let mut small = ReceiveRing::new(2, 100);
        sender.send(&[b'y'; 101]).unwrap();
        sender.send(&[b'z'; 100]).unwrap();
        assert_eq!(small.receive(receiver.as_fd()).unwrap(), 2);
        assert!(small.slot(0).truncated && small.slot(0).bytes == [b'y'; 100]);
        assert!(!small.slot(1).truncated && small.slot(1).bytes == [b'z'; 100]);
    }

    #[test]
    fn merged_datagrams_are_told_apart_also_after_plain_ones() {
        let (sender, receiver) = pair();
        set_gro(receiver.as_fd()).unwrap();
        let mut ring = ReceiveRing::new(4, SLOT_BYTES);
        let run: Vec<u8> = (0..10).flat_map(|n| [b'0' + n; 100]).chain([b'!'; 40]).collect();
        for _ in 0..3 {
            sender.send(b"plain").unwrap();
            assert_eq!(ring.receive(receiver.as_fd()).unwrap(), 1);
            assert_eq!((ring.slot(0).stride, texts(&ring).len()), (None, 1));

            set_int(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 100).unwrap();
            sender.send(&run).unwrap();
            set_int(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).unwrap();
            assert_eq!(ring.receive(receiver.as_fd()).unwrap(), 1);
            assert_eq!(ring.slot(0).stride, Some(100));
            let texts = texts(&ring);
            assert_eq!(texts.len(), 11);
            assert_eq!((&texts[3][..], &texts[10][..]), (&[b'3'; 100][..], &[b'!'; 40][..]));
        }
    }

    #[test]
    fn an_exact_socket_says_when_and_whereto_each_datagram_came() {
        for (bound, to) in [
            ("0.0.0.0:0", "127.0.0.7"),
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.9"),
        ] {
            // A machine without IPv6 has nothing to prove there.
            let Ok(receiver) = UdpSocket::bind(bound) else { continue };
            set_exact(receiver.as_fd(), bound.starts_with('[')).unwrap();
            let to: IpAddr = to.parse().unwrap();
            let from = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let sender = UdpSocket::bind(from).unwrap();
            let port = receiver.local_addr().unwrap().port();
            let mut ring = ReceiveRing::new(4, SLOT_BYTES);
            let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
            for round in 0..3 {
                let sent = clock();
                sender.send_to(b"x", (to, port)).unwrap();
                set_gro(receiver.as_fd()).unwrap();
                set_int(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 100).unwrap();
                sender.send_to(&[b'y'; 250], (to, port)).unwrap();
                set_int(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).unwrap();
                let mut count = 0;
                while let Ok(more) = ring.receive(receiver.as_fd()) {
                    for index in 0..more {
                        let slot = ring.slot(index);
                        // Not in order: until the kernel has begun to stamp, which takes it a
                        // while, a datagram has the time at which it is read.
                        let at = u128::try_from(slot.at_ns.expect("a time")).unwrap();
                        assert!((sent..=clock()).contains(&at), "{bound} {round}: {at} of {sent}");
                        assert_eq!((slot.local, slot.peer), (Some(to), sender.local_addr().ok()));
                        count += slot.datagrams().count();
                    }
                }
                assert_eq!(count, 4, "{bound}");
            }
        }
    }

    #[test]
    fn drops_are_exact_at_once_and_nothing_is_double_counted() {
        let (sender, receiver) = pair();
        let real = set_receive_buffer(receiver.as_fd(), 4096).unwrap();
        assert!((1024..=8192).contains(&real), "{real}");
        for _ in 0..200 {
            sender.send(&[b'x'; 500]).unwrap();
        }
        let dropped = drops(receiver.as_fd()).unwrap();
        let mut ring = ReceiveRing::new(64, SLOT_BYTES);
        let mut received = 0;
        while let Ok(count) = ring.receive(receiver.as_fd()) {
            received += count as u32;
        }
        assert!(received > 0 && dropped > 0);
        assert_eq!(received + dropped, 200);
    }

    #[test]
    fn what_a_drop_all_filter_refuses_counts_as_dropped() {
        let (sender, receiver) = pair();
        sender.send(b"before").unwrap();
        let refuse = socket2::SockFilter::new(libc::BPF_RET as u16, 0, 0, 0);
        socket2::SockRef::from(&receiver).attach_filter(&[refuse]).unwrap();
        for _ in 0..7 {
            sender.send(b"after").unwrap();
        }
        let mut ring = ReceiveRing::new(8, SLOT_BYTES);
        assert_eq!(ring.receive(receiver.as_fd()).unwrap(), 1);
        assert_eq!(texts(&ring), [b"before"]);
        assert_eq!(drops(receiver.as_fd()).unwrap(), 7);
    }
}
