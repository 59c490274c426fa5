//! The few system calls that std, mio, rustix and socket2 lack. One file each, all of them small,
//! each with a safe face.

pub mod udp_receive;
//! The few system calls that std, rustix and socket2 lack, each behind a safe face.

pub mod ofd_lock;
