//! What a POST carries: so many events of a batch, in one of three shapes.
//!
//! ```text
//!   lines    one line an event, as the encoder writes it: text, or NDJSON with `json`
//!   flume    [{"headers":{…},"body":"…"},…]    what the http sources of Flume and flumen read
//!   single   one event's bytes and nothing else, as Flume's http sink sends it
//! ```

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::codec::Encoding;
use crate::codec::encoders::flume_json;
use crate::event::{Event, Page};
use crate::sink::encoding::SharedEncoder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Lines,
    Flume,
    Single,
}

impl Shape {
    /// What the peer is told that it is.
    pub(super) fn content_type(self, encoding: Encoding) -> &'static str {
        match (self, encoding) {
            (Self::Flume, _) => "application/json; charset=utf-8",
            (Self::Lines, Encoding::Json) => "application/x-ndjson",
            (Self::Single, Encoding::Json) => "application/json",
            _ => "text/plain",
        }
    }
}

/// How much goes into one POST, and how.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) shape: Shape,
    pub(super) encoder: SharedEncoder,
    /// A longer event goes alone.
    pub(super) bytes_max: usize,
    pub(super) gzip: bool,
}

pub(super) struct Composer {
    recipe: Recipe,
    text: Vec<u8>,
    packed: Vec<u8>,
    body: Vec<u8>,
    scratch: Vec<u8>,
}

impl Composer {
    pub(super) fn new(recipe: Recipe) -> Self {
        let empty = Vec::new;
        Self { recipe, text: empty(), packed: empty(), body: empty(), scratch: empty() }
    }

    /// Makes a body of the events from `from` on, `most` at most and one at least; where it ends.
    pub(super) fn compose(&mut self, page: &Page, from: u32, most: u32) -> u32 {
        self.text.clear();
        let flume = self.recipe.shape == Shape::Flume;
        if flume {
            self.text.push(b'[');
        }
        let mut end = from;
        for event in page.events().skip(from as usize).take(most as usize) {
            let before = self.text.len();
            self.add(&event, end == from);
            if end > from && self.text.len() > self.recipe.bytes_max {
                self.text.truncate(before);
                break;
            }
            end += 1;
        }
        if flume {
            self.text.push(b']');
        }
        if self.recipe.gzip {
            self.packed.clear();
            let mut gzip = GzEncoder::new(&mut self.packed, Compression::fast());
            gzip.write_all(&self.text).expect("a Vec takes every write");
            gzip.finish().expect("a Vec takes every write");
        }
        end
    }

    pub(super) fn body(&self) -> &[u8] {
        if self.recipe.gzip { &self.packed } else { &self.text }
    }

    fn add(&mut self, event: &Event<'_>, first: bool) {
        let Recipe { shape, encoder, .. } = &self.recipe;
        match shape {
            Shape::Lines => encoder.encode_event(event, &mut self.text),
            Shape::Single => {
                encoder.encode_event(event, &mut self.text);
                let text = self.text.strip_suffix(b"\n").map_or(self.text.len(), <[u8]>::len);
                self.text.truncate(text);
            }
            Shape::Flume => {
                self.body.clear();
                encoder.encode_event(event, &mut self.body);
                let body = self.body.strip_suffix(b"\n").unwrap_or(&self.body);
                if !first {
                    self.text.push(b',');
                }
                flume_json(event, body, &mut self.scratch, &mut self.text);
            }
        }
    }
}
