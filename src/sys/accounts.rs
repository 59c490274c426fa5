//! Users and groups by name, as this machine knows them, wherever it keeps them (nsswitch.conf).
#![expect(unsafe_code, reason = "std knows no accounts, and files alone would miss directories")]

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

/// Large enough for any account; a group of thousands of members may have more, and is not found.
const RECORD_BYTES: usize = 64 << 10;

/// The number of a user.
pub fn user(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let (mut record, mut found) = (MaybeUninit::<libc::passwd>::uninit(), ptr::null_mut());
    let mut bytes = vec![0; RECORD_BYTES];
    // SAFETY: every pointer is to memory of ours that outlives the call, of the size told.
    let code = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            record.as_mut_ptr(),
            bytes.as_mut_ptr(),
            bytes.len(),
            &raw mut found,
        )
    };
    // SAFETY: when it is found, the record is filled in, and `found` points to it.
    (code == 0 && !found.is_null()).then(|| unsafe { (*found).pw_uid })
}

/// The number of a group.
pub fn group(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let (mut record, mut found) = (MaybeUninit::<libc::group>::uninit(), ptr::null_mut());
    let mut bytes = vec![0; RECORD_BYTES];
    // SAFETY: every pointer is to memory of ours that outlives the call, of the size told.
    let code = unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            record.as_mut_ptr(),
            bytes.as_mut_ptr(),
            bytes.len(),
            &raw mut found,
        )
    };
    // SAFETY: when it is found, the record is filled in, and `found` points to it.
    (code == 0 && !found.is_null()).then(|| unsafe { (*found).gr_gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_everywhere_and_others_are_not() {
        assert_eq!((user("root"), group("root")), (Some(0), Some(0)));
        for nobody in ["no-such-account", "", "a\0b"] {
            assert_eq!((user(nobody), group(nobody)), (None, None), "{nobody:?}");
        }
    }
}
