//! The few system calls that std, mio, rustix and socket2 lack. One file each, all of them small,
//! each with a safe face.

pub mod accounts;
pub mod address;
pub mod credentials;
pub mod directories;
pub mod mapping;
pub mod notify;
pub mod ofd_lock;
pub mod passed;
pub mod permissions;
pub mod readable;
pub mod receive_room;
pub mod socket_file;
mod socket_option;
pub mod udp_receive;
pub mod udp_send;
pub mod written_back;
