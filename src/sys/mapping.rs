//! Memory straight from the kernel: page-aligned, zeroed, costing nothing until it is touched, and
//! exactly as large as asked for. An allocator's size classes made a pool of 1 MiB + 4 KiB pages
//! 14 % larger than its sum (585 MiB resident where 512 were promised).

#![expect(unsafe_code, reason = "mmap and the slice over it have no safe face in std or rustix")]

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// An anonymous private mapping, owned.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is plain memory with one owner, like a Box<[u8]>.
unsafe impl Send for Mapping {}
// SAFETY: a shared Mapping is only read, like a Box<[u8]>.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `bytes` of zeroes; the system rounds up to whole pages of 4 KiB.
    pub fn new(bytes: usize) -> io::Result<Self> {
        assert!(bytes > 0, "an empty mapping is a mistake of the caller");
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches nobody's memory.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags)?
        };
        let start = NonNull::new(start.cast()).expect("the kernel never maps page zero for us");
        Ok(Self { start, bytes })
    }

    /// The same in pages of 2 MiB where the system has them, for what is used all over: an access
    /// in another small page each time is two waits for memory, the first for the address.
    pub fn in_large_pages(bytes: usize) -> io::Result<Self> {
        let mapping = Self::new(bytes)?;
        // SAFETY: the mapping is ours, and the advice changes nothing that is in it.
        let advised =
            unsafe { madvise(mapping.start.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
        // Where there are none it is as good in small ones.
        let _ = advised;
        Ok(mapping)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `bytes`, initialised by the kernel, and lives as we do.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and we are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrows from it any more.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroed_aligned_and_writable() {
        let mut mapping = Mapping::new(5000).expect("memory");
        assert_eq!(mapping.len(), 5000);
        assert!(mapping.iter().all(|byte| *byte == 0));
        assert_eq!(mapping.as_ptr() as usize % 4096, 0);
        mapping[4999] = 7;
        assert_eq!(mapping[4999], 7);
        let mut large = Mapping::in_large_pages(5 << 20).expect("memory");
        assert!(large.iter().all(|byte| *byte == 0));
        large[(5 << 20) - 1] = 7;
    }
}
