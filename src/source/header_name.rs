//! Names of headers that a source sets when it is asked to.

use crate::config::Section;

/// The longest name: with a path behind it, two fit into an event's headers.
pub const KEY_BYTES_MAX: usize = 255;

/// The header's name when its flag is set, else none.
pub fn flagged(section: &Section, flag: &'static str, key: &'static str) -> String {
    let name = section.text(key);
    if !is_name(&name) {
        section.fail(key, no_name(&name), "leave it out, and it is called as in Flume");
    }
    if section.flag(flag) {
        return name;
    }
    if section.explicit(key) && section.usable(flag) {
        section.fail(
            key,
            format!("there is no such header without `{flag}`"),
            format!("write `{flag} = true`"),
        );
    }
    String::new()
}

/// The header's name, or none when nobody asks for it.
pub fn optional(section: &Section, key: &'static str) -> String {
    let name = section.optional_text(key).unwrap_or_default();
    if section.explicit(key) && section.usable(key) && !is_name(&name) {
        section.fail(key, no_name(&name), "leave it out, and there is no such header");
    }
    name
}

pub fn is_name(name: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&name.len())
}

pub fn no_name(name: &str) -> String {
    let name = &name[..name.floor_char_boundary(40)];
    format!("\"{name}\" is no name for a header: it has 1 to {KEY_BYTES_MAX} bytes")
}
