//! Who may do what with a file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The permission bits of what a path leads to, `0o640`.
pub fn mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_has_the_bits_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(mode(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "").unwrap();
        for bits in [0o600, 0o644] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
            assert_eq!(mode(&path).unwrap(), bits);
        }
    }
}
