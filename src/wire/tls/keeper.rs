//! PEM files that are replaced while we run: what they hold is taken anew, without a restart.
//!
//! Somebody looks now and then. New contents are taken when two looks in a row have found them the
//! same: a certificate and its key are rarely replaced in one instant. What cannot be used is tried
//! once, and the old stays in effect. How files are read is the caller's.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{About, Identity, SetupError, certificate};

/// What files hold, each by what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents(Vec<(About, Vec<u8>)>);

impl Contents {
    /// None when there is no such file.
    pub fn of(&self, about: About) -> Option<&[u8]> {
        self.0.iter().find(|(one, _)| *one == about).map(|(_, bytes)| &bytes[..])
    }

    /// The certificate and its key, where both have a file.
    pub fn identity(&self) -> Result<Option<Identity>, SetupError> {
        let pair = self.of(About::Certificate).zip(self.of(About::Key));
        pair.map(|(certificate, key)| Identity::from_pem(certificate, key)).transpose()
    }
}

type Read = Box<dyn Fn(&Path) -> io::Result<Vec<u8>> + Send>;
type Make<Setup> = Box<dyn Fn(&Contents) -> Result<Setup, SetupError> + Send>;

/// Compares what the files hold with what is in effect.
pub struct Keeper<Setup> {
    paths: Vec<(About, PathBuf)>,
    read: Read,
    make: Make<Setup>,
    held: Contents,
    /// Seen at the last look, and not in effect; and whether it was tried.
    seen: Option<(Contents, bool)>,
}

/// What a look at the files came to.
#[derive(Debug)]
pub enum Look<Setup> {
    /// They hold what is in effect.
    Same,
    /// They are being replaced, or hold what was tried already.
    Other,
    /// This is in effect from now on.
    Fresh(Setup),
    /// They cannot be read or used.
    Bad(SetupError),
}

impl<Setup> Keeper<Setup> {
    /// Reads the files, and makes what is in effect first. Errors begin with the file's name.
    pub fn new(
        paths: Vec<(About, PathBuf)>,
        read: impl Fn(&Path) -> io::Result<Vec<u8>> + Send + 'static,
        make: impl Fn(&Contents) -> Result<Setup, SetupError> + Send + 'static,
    ) -> Result<(Self, Setup), SetupError> {
        let (read, make): (Read, Make<Setup>) = (Box::new(read), Box::new(make));
        let held = Contents(Vec::new());
        let mut keeper = Self { paths, read, make, held, seen: None };
        keeper.held = keeper.read_all()?;
        let setup = keeper.made(&keeper.held)?;
        Ok((keeper, setup))
    }

    pub fn look(&mut self) -> Look<Setup> {
        let found = match self.read_all() {
            Ok(found) => found,
            Err(error) => return Look::Bad(error),
        };
        if found == self.held {
            self.seen = None;
            return Look::Same;
        }
        match &mut self.seen {
            Some((seen, tried)) if *seen == found => {
                if std::mem::replace(tried, true) {
                    return Look::Other;
                }
            }
            _ => {
                self.seen = Some((found, false));
                return Look::Other;
            }
        }
        match self.made(&found) {
            Ok(setup) => {
                (self.held, self.seen) = (found, None);
                Look::Fresh(setup)
            }
            Err(error) => Look::Bad(error),
        }
    }

    /// For a message: whose certificate is in effect.
    pub fn who(&self) -> Option<String> {
        let own = self.held.identity().ok().flatten()?;
        Some(certificate::describe(own.certificate()))
    }

    fn read_all(&self) -> Result<Contents, SetupError> {
        let read = |(about, path): &(About, PathBuf)| {
            let bytes = (self.read)(path).map_err(|error| {
                let remedy = match error.kind() {
                    ErrorKind::PermissionDenied => "let the user that flumen runs as read it",
                    _ => "write where the PEM file is",
                };
                SetupError::new(*about, format!("{}: {error}", path.display()), remedy)
            })?;
            Ok((*about, bytes))
        };
        self.paths.iter().map(read).collect::<Result<_, _>>().map(Contents)
    }

    fn made(&self, contents: &Contents) -> Result<Setup, SetupError> {
        (self.make)(contents).map_err(|error| {
            let path = self.paths.iter().find(|(about, _)| *about == error.about);
            let what = match path {
                Some((_, path)) => format!("{} {}", path.display(), error.what),
                None => error.what,
            };
            SetupError { what, ..error }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    type Files = Arc<Mutex<HashMap<PathBuf, &'static str>>>;

    /// What is made is the two texts, unless the key is bad.
    fn keeper(files: &Files) -> Result<(Keeper<String>, String), SetupError> {
        let theirs = Arc::clone(files);
        let read = move |path: &Path| {
            let files = theirs.lock().unwrap();
            let text = files.get(path).ok_or_else(|| io::Error::from(ErrorKind::NotFound));
            text.map(|text| text.as_bytes().to_vec())
        };
        let make = |contents: &Contents| {
            let text = |about| String::from_utf8_lossy(contents.of(about).unwrap()).into_owned();
            let (certificate, key) = (text(About::Certificate), text(About::Key));
            assert_eq!(contents.of(About::Anchors), None);
            if key == "bad" {
                return Err(SetupError::new(About::Key, "is bad", "mend it"));
            }
            Ok(certificate + &key)
        };
        let paths = vec![(About::Certificate, "c.pem".into()), (About::Key, "k.pem".into())];
        Keeper::new(paths, read, make)
    }

    #[test]
    fn what_settles_is_taken_and_what_is_bad_is_tried_once() {
        let files = Files::default();
        let put = |name: &str, text| {
            files.lock().unwrap().insert(name.into(), text);
        };
        put("c.pem", "c1");
        let error = keeper(&files).err().unwrap();
        assert!(error.what.starts_with("k.pem: "), "{error}");
        put("k.pem", "bad");
        assert_eq!(keeper(&files).err().unwrap().to_string(), "k.pem is bad: mend it");
        put("k.pem", "k1");
        let (mut keeper, first) = keeper(&files).unwrap();
        assert_eq!(first, "c1k1");
        assert!(matches!(keeper.look(), Look::Same));
        // One file after the other: never the new one with the old.
        put("c.pem", "c2");
        assert!(matches!(keeper.look(), Look::Other));
        put("k.pem", "k2");
        assert!(matches!(keeper.look(), Look::Other));
        assert!(matches!(keeper.look(), Look::Fresh(made) if made == "c2k2"));
        assert!(matches!(keeper.look(), Look::Same));
        put("k.pem", "bad");
        assert!(matches!(keeper.look(), Look::Other));
        assert!(matches!(keeper.look(), Look::Bad(error) if error.what == "k.pem is bad"));
        assert!(matches!(keeper.look(), Look::Other), "it is told once");
        files.lock().unwrap().remove(Path::new("c.pem"));
        assert!(matches!(keeper.look(), Look::Bad(error) if error.what.starts_with("c.pem: ")));
        // Back to what is in effect.
        put("c.pem", "c2");
        put("k.pem", "k2");
        assert!(matches!(keeper.look(), Look::Same));
    }
}
