//! Offers: lines of `name=value[,value…]` in an `open` and in its reply.

use super::RelpError;

/// What we call ourselves: name, version.
pub(super) const SOFTWARE: &str = concat!("flumen,", env!("CARGO_PKG_VERSION"));
/// librelp speaks 0 and takes nothing above it; the specification calls itself 1.
pub(super) const VERSION_MAX: u32 = 1;

/// What a peer offers, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) version: Option<u32>,
    pub(super) syslog: bool,
}

impl Offers {
    /// Unknown names and values are for others.
    pub(super) fn read(text: &[u8]) -> Self {
        let mut offers = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, values) = (&line[..at], &line[at + 1..]);
            let mut values = values.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            match name {
                b"relp_version" => {
                    let value = values.next().and_then(|value| std::str::from_utf8(value).ok());
                    offers.version = value.and_then(|value| value.parse().ok());
                }
                b"commands" => offers.syslog = values.any(|value| value == b"syslog"),
                _ => {}
            }
        }
        offers
    }

    /// The version that both speak.
    pub(super) fn agreed(&self) -> Result<u32, RelpError> {
        let version = self.version.ok_or(RelpError::Offer("relp_version"))?;
        if self.syslog { Ok(version.min(VERSION_MAX)) } else { Err(RelpError::Offer("commands")) }
    }

    /// Our own offer for this version.
    pub(super) fn ours(version: u32) -> String {
        format!("relp_version={version}\nrelp_software={SOFTWARE}\ncommands=syslog")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librelps_offer_is_understood_and_ours_too() {
        let text = b"relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\n\
                     commands=syslog,eventlog";
        assert_eq!(Offers::read(text).agreed(), Ok(0));
        assert_eq!(Offers::read(Offers::ours(1).as_bytes()).agreed(), Ok(1));
        assert_eq!(Offers::read(b"\ncommands=a,syslog\r\nrelp_version=7").agreed(), Ok(1));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, missing) in [
            (&b""[..], "relp_version"),
            (b"commands=syslog", "relp_version"),
            (b"relp_version=x\ncommands=syslog", "relp_version"),
            (b"relp_version=0", "commands"),
            (b"relp_version=0\ncommands=eventlog", "commands"),
        ] {
            assert_eq!(Offers::read(text).agreed(), Err(RelpError::Offer(missing)));
        }
    }
}
