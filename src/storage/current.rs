//! Symbolic links that lead to the newest file of a path.
//!
//! A link says the way from its own directory, so that a tree may be moved or mounted elsewhere as
//! a whole. It is made beside its place and then put there by one rename (`Disk::point`).

use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Disk, catalog};

/// Makes `link` lead to `file`.
pub fn lead_to(disk: &dyn Disk, link: &Path, file: &Path) -> io::Result<()> {
    disk.create_dir_all(catalog::directory(link))?;
    disk.point(link, &way(link, file))
}

/// After `file` was renamed: a link that led there leads to its new name. One that leads elsewhere
/// by now, to a newer file, stays.
pub fn follow(disk: &dyn Disk, link: &Path, file: &Path, renamed: &Path) -> io::Result<()> {
    if disk.points_at(link)?.as_deref() == Some(&way(link, file)) {
        disk.point(link, &way(link, renamed))?;
    }
    Ok(())
}

/// From the directory of `link` to `file`.
fn way(link: &Path, file: &Path) -> PathBuf {
    let (from, to) = (catalog::directory(link), file);
    let crosses = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    if from.is_absolute() != to.is_absolute() || crosses(from) || crosses(to) {
        // Where `..` leads is the file system's to say.
        return std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    }
    let plain = |path: &'_ Path| -> Vec<_> {
        let parts = path.components().filter(|part| *part != Component::CurDir);
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };
    let (from, to) = (plain(from), plain(to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| "..".into());
    up.chain(to[shared..].iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsDisk;

    #[test]
    fn the_way_goes_from_the_directory_of_the_link() {
        for (link, file, expected) in [
            ("/l/current", "/l/a.zst.open", "a.zst.open"),
            ("/l/current", "/l/2026/11/a.zst", "2026/11/a.zst"),
            ("/l/links/web/current", "/l/web/a.zst", "../../web/a.zst"),
            ("/current", "/l/a.zst", "l/a.zst"),
            ("current", "./l/a.zst", "l/a.zst"),
            ("/a/../l/current", "/l/a.zst", "/l/a.zst"),
        ] {
            assert_eq!(way(Path::new(link), Path::new(file)), Path::new(expected), "{link}");
        }
    }

    #[test]
    fn a_link_moves_on_and_nothing_else_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let [link, first, second] =
            ["links/current", "one.open", "two.open"].map(|name| dir.path().join(name));
        let file = OsDisk.create_new(&first).unwrap();
        lead_to(&OsDisk, &link, &first).unwrap();
        assert!(file.linked(&link.canonicalize().unwrap()).unwrap());
        assert_eq!(OsDisk.points_at(&link).unwrap().unwrap(), Path::new("../one.open"));
        lead_to(&OsDisk, &link, &second).unwrap();
        // The first is finished while the second is open: the link stays with the second.
        follow(&OsDisk, &link, &first, &dir.path().join("one")).unwrap();
        assert_eq!(OsDisk.points_at(&link).unwrap().unwrap(), Path::new("../two.open"));
        follow(&OsDisk, &link, &second, &dir.path().join("two")).unwrap();
        assert_eq!(OsDisk.points_at(&link).unwrap().unwrap(), Path::new("../two"));
        let names = OsDisk.list(link.parent().unwrap()).unwrap();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
        assert!(names[0].is_link);
        assert_eq!(catalog::walk(&OsDisk, dir.path()).unwrap(), [first]);
    }

    #[test]
    fn a_file_or_a_directory_of_the_name_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [taken, folder, file] = ["taken", "folder", "a"].map(|name| dir.path().join(name));
        let held = OsDisk.create_new(&taken).unwrap();
        OsDisk.create_dir_all(&folder).unwrap();
        for link in [&taken, &folder] {
            let error = lead_to(&OsDisk, link, &file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(OsDisk.points_at(link).unwrap(), None);
        }
        assert!(held.linked(&taken).unwrap() && OsDisk.facts(&folder).unwrap().is_dir);
        assert_eq!(OsDisk.list(dir.path()).unwrap().len(), 2);
    }
}
