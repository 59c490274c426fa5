//! The `file` sink: compressed rolling files that are readable at any instant.
//!
//! ```text
//!            ┌ take + ticket ┐   encode, compress    ┌ window ┐  append   segment.open
//!  channel ──▶  assembler    ├──▶ thread 0..n ──────▶│ order  │──▶ writer ──▶ segment
//!            └───────────────┘                       └────────┘     │  ▲
//!                                        open, sync, seal, rescue   ▼  │
//!                                                                  clerk
//! ```
//! With a path that depends on the event (`%{host}`) each thread owns its files instead (`keyed`).

mod ahead;
mod arena;
mod assembler;
mod at_open;
mod avro;
mod block;
mod chain;
mod clerk;
mod keyed;
mod keys;
mod known;
mod lane;
mod level;
mod on_seal;
mod open_blocks;
mod options;
mod ordered;
mod path;
mod preallocation;
mod records;
mod roll_policy;
mod safe;
mod tempo;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::codec::Encoding;
use crate::event::HeaderNames;
use crate::limits;
use crate::memory::MemoryLine;
use crate::memory::receipt::Reached;
use crate::ring::{Ring, Turnstile};
use crate::runtime::Worker;
use crate::runtime::helper::{Desk, Helper};
use crate::runtime::parker::Parker;
use crate::storage;
use crate::storage::chain::Hash;
use crate::storage::meta::{META_CODER_BYTES, META_FIELD_BYTES_MAX, MetaCoder};
use crate::storage::recovery::{Mode, Outcome, recover};
use crate::storage::segment::BlockEntry;
use crate::storage::tokens::{TOKENS_FIELD_BYTES_MAX, TokenSieve};
use crate::storage::{Container, DurableNames, Numbers};
use crate::syslog::parse::Fields;

use super::{BuildError, Built, SinkContext, SinkPlan};
use assembler::{Assembler, Sizes};
use block::{Blank, Press, container_of};
use clerk::{Answer, Clerk, Question};
use keyed::{DEALT_MAX, Dealer, Keyed, Seats};
use level::{Governor, Level};
use on_seal::{Finished, OnSeal};
use open_blocks::{Bounds, KEY_BYTES, OpenBlocks};
use options::Options;
use ordered::{Ordered, Shared};
use records::RECORD_BYTES_MAX;
use tempo::Tempo;
use writer::{QUESTIONS_MAX, Rules, Ties, Writer};

pub use options::KIND;
pub use path::{Clock, Template, TemplateError};

/// Blocks of one file that are known before its list grows: 1 GiB of stored ones as a rule.
const ENTRIES_EXPECTED: usize = 8192;
/// Blocks that are known of all open files; beyond half of them what is synced is forgotten.
const ENTRIES_MAX: usize = 16 << 10;
/// Keyed: the same; a file begins with four, so ten thousand that are written have these alone.
const KEY_ENTRIES_MAX: usize = 64 << 10;
/// Keyed: raw bytes of one key's block.
const KEY_BLOCK_BYTES: usize = 64 << 10;
/// Keyed: keys that all threads together remember, each with its path; more cost a rendering and
/// two allocations when they come back.
const KEYS_MAX: usize = 16 << 10;
/// Keyed: what an open file costs: its lane and segment, its path twice, its places in tables and
/// lists, and what the allocator rounds. Its index has a line of its own.
pub const OPEN_FILE_BYTES: usize = 1280;
/// Keyed: finished blocks of one thread that wait for their file.
const KEY_BUFFERS: usize = 8;

/// Writers and helpers.
type Crew = (Vec<Box<dyn Worker>>, Vec<Box<dyn Worker>>);

impl Options {
    fn keyed(&self) -> bool {
        self.template.keyed()
    }

    fn sizes(&self, event_bytes_max: usize) -> Sizes {
        let encoder = self.encoder();
        let block =
            if self.keyed() { self.block_bytes.min(KEY_BLOCK_BYTES) } else { self.block_bytes };
        let record = if self.keyed() && self.keep_meta { RECORD_BYTES_MAX } else { 0 };
        Sizes { block, raw: block + record + encoder.bound(event_bytes_max).max(block / 4) }
    }

    /// Finished blocks between compressor and file.
    fn buffers(&self) -> usize {
        if self.keyed() { KEY_BUFFERS } else { 2 * self.threads + 2 }
    }

    /// Blocks known of all open files.
    fn entries(&self) -> usize {
        if self.keyed() { KEY_ENTRIES_MAX } else { ENTRIES_MAX }
    }

    /// Avro's blocks have its compression inside.
    fn container(&self) -> Container {
        if self.avro.is_some() { Container::Plain } else { container_of(self.codec) }
    }

    /// What each file begins with.
    fn head(&self) -> Vec<u8> {
        let Some(marker) = &self.avro else { return self.codec.kind().around.front.to_vec() };
        storage::avro::head(
            storage::avro::EVENT_SCHEMA,
            self.codec.avro_name().unwrap_or("null"),
            marker,
        )
    }

    fn press(&self) -> Press {
        let fields = if self.keep_meta { META_FIELD_BYTES_MAX } else { 0 };
        let encoding = self.encoder().encoding().wire_id();
        let press = Press::new(self.codec, self.level.first(), encoding, fields);
        let press = match &self.avro {
            Some(marker) => press.with_avro(self.codec, *marker),
            None => press,
        };
        let press = if self.tokens { press.with_tokens() } else { press };
        if self.chain.is_some() { press.with_chain() } else { press }
    }

    /// A press that changes its level if it may: one for each thread.
    fn press_of(&self, context: &SinkContext) -> Press {
        let press = self.press();
        match self.level {
            Level::Fixed(_) => press,
            Level::Adapt => press.with_governor(Governor::new(Arc::clone(&context.clock))),
        }
    }

    fn meta(&self) -> Option<MetaCoder> {
        self.keep_meta.then(MetaCoder::default)
    }

    fn patience(&self) -> Duration {
        self.block_age - self.block_age / 8
    }

    /// Who runs the command for finished files, if there is one.
    fn caller(&self, context: &SinkContext) -> (Option<Box<dyn Worker>>, Option<Finished>) {
        if self.on_seal.is_empty() {
            return (None, None);
        }
        let watch = context.incidents.watch(&format!("sink {} on_seal", context.name));
        let name = format!("on_seal.{}", context.name);
        let (worker, finished) = OnSeal::new(name, &self.on_seal, self.threads, watch);
        (Some(Box::new(worker)), Some(finished))
    }

    fn clerk(
        &self,
        context: &SinkContext,
        name: String,
        finished: Option<Finished>,
    ) -> (Box<dyn Worker>, Desk<Question, Answer>) {
        let mut clerk = Clerk {
            disk: Arc::clone(&context.disk),
            clock: Arc::clone(&context.clock),
            container: self.container(),
            head: self.head(),
            template: Arc::clone(&self.template),
            keep: self.keep,
            access: self.access,
            finished,
            numbers: Numbers::new(self.container()),
            names: DurableNames::below(self.template.root()),
            sealer: self.chain.as_ref().map(|chain| chain.sealer(self.codec, self.level.first())),
            at_open: at_open::Names::new(context.now.wall, self.template.zone()),
            leftovers: Vec::new(),
            opened: 0,
            entries_expected: if self.keyed() { 0 } else { ENTRIES_EXPECTED },
        };
        let (helper, desk) =
            Helper::new(name, QUESTIONS_MAX, move |question, now| clerk.answer(question, now));
        (Box::new(helper), desk)
    }

    fn writer(
        &self,
        context: &SinkContext,
        thread: usize,
        desk: Desk<Question, Answer>,
        buffers: &Arc<Ring<Blank>>,
        tempo: &Arc<Tempo>,
    ) -> Writer {
        let rules = Rules {
            container: self.container(),
            roll: self.roll,
            in_turn: self.keyed(),
            sync: self.sync,
            // One of the clerks prunes for all.
            retain: self.keep != Default::default() && thread == 0,
            synced_singly_max: context.disk.files_synced_singly_max(),
            open_files_max: self.open_files(),
            entries_max: self.entries() / if self.keyed() { self.threads } else { 1 },
        };
        let ties = Ties {
            name: format!("sink {}", context.name),
            desk,
            buffers: Arc::clone(buffers),
            channel: Arc::clone(&context.channel),
            counters: Arc::clone(&context.counters[thread]),
            orders: Arc::clone(&context.orders),
            clock: Arc::clone(&context.clock),
            watch: context.incidents.watch(&format!("sink {}", context.name)),
            tempo: Arc::clone(tempo),
        };
        Writer::new(rules, ties)
    }

    fn block_buffers(&self, press: &Press, sizes: Sizes, page_bytes: usize) -> Arc<Ring<Blank>> {
        let buffers = Arc::new(Ring::new(self.buffers()));
        let bytes = press.bound(sizes.raw.max(if self.keyed() { 0 } else { page_bytes }));
        let blank = || Blank { bytes: Vec::with_capacity(bytes), ..Blank::default() };
        (0..self.buffers()).for_each(|_| buffers.offer(blank()));
        buffers
    }

    fn build_ordered(&self, context: &SinkContext) -> Crew {
        let sizes = self.sizes(context.event_bytes_max);
        let encoder = self.encoder();
        let buffers = self.block_buffers(&self.press(), sizes, context.page_bytes);
        let (caller, finished) = self.caller(context);
        let (clerk, desk) = self.clerk(context, format!("clerk.{}", context.name), finished);
        let tempo = Arc::new(Tempo::default());
        let writer = self.writer(context, 0, desk, &buffers, &tempo);
        let assembler = Assembler::new(
            Arc::clone(&context.channel),
            Arc::clone(&encoder),
            Arc::clone(&self.template),
            sizes,
            self.patience(),
            tempo,
            Arc::clone(&context.counters[0]),
        )
        .keeping(self.meta());
        let desk = writer.desk().clone();
        let shared = Arc::new(Shared {
            assembler: Mutex::new(assembler),
            turnstile: Turnstile::new(self.buffers(), writer),
            buffers,
            channel: Arc::clone(&context.channel),
        });
        let worker = |thread| {
            let name = format!("sink.{}.{thread}", context.name);
            let (shared, encoder) = (Arc::clone(&shared), Arc::clone(&encoder));
            let lead = (thread == 0).then(|| desk.clone());
            let press = self.press_of(context);
            let worker = Ordered::new(name, shared, encoder, press, sizes.raw, lead);
            Box::new(worker) as Box<dyn Worker>
        };
        let helpers = [Some(clerk), caller].into_iter().flatten();
        ((0..self.threads).map(worker).collect(), helpers.collect())
    }

    fn build_keyed(&self, context: &SinkContext) -> Crew {
        let sizes = self.sizes(context.event_bytes_max);
        let hands = (0..self.threads).map(|_| Ring::new(DEALT_MAX)).collect();
        let channel = Arc::clone(&context.channel);
        let dealer = Arc::new(Dealer { channel, hands, lock: Mutex::new(()) });
        let (caller, finished) = self.caller(context);
        let mut clerks: Vec<_> = caller.into_iter().collect();
        let mut workers = Vec::new();
        for thread in 0..self.threads {
            let press = self.press_of(context);
            let buffers = self.block_buffers(&press, sizes, context.page_bytes);
            let name = format!("clerk.{}.{thread}", context.name);
            let (clerk, desk) = self.clerk(context, name, finished.clone());
            clerks.push(clerk);
            let tempo = Arc::new(Tempo::default());
            let parker = Parker::default();
            let seats = Seats {
                channel: dealer.channel.listen(parker.waker()),
                hand: dealer.hands[thread].bell().join(parker.waker()),
                buffers: buffers.bell().join(parker.waker()),
                clerk: desk.answers().bell().join(parker.waker()),
            };
            let bounds = Bounds {
                bytes: self.block_memory(),
                block_bytes: sizes.block,
                event_bytes: self.encoder().bound(context.event_bytes_max) + RECORD_BYTES_MAX,
                keys: KEYS_MAX / self.threads,
                patience: self.patience(),
                seed: context.now.wall.0 as u64 ^ context.now.mono.0.rotate_left(32),
            };
            workers.push(Box::new(Keyed {
                name: format!("sink.{}.{thread}", context.name),
                thread,
                dealer: Arc::clone(&dealer),
                encoder: self.encoder(),
                press,
                writer: self.writer(context, thread, desk, &buffers, &tempo),
                buffers,
                tempo,
                counters: Arc::clone(&context.counters[thread]),
                parker,
                seats,
                open: OpenBlocks::new(Arc::clone(&self.template), bounds, self.meta()),
                raw: Vec::with_capacity(sizes.raw),
                current: None,
                deals: 0,
                patience: self.patience(),
                closing: false,
            }) as Box<dyn Worker>);
        }
        (workers, clerks)
    }

    fn find_program(&self, context: &SinkContext) -> Result<(), BuildError> {
        let Some(program) = self.on_seal.first() else { return Ok(()) };
        if context.disk.exists(Path::new(program)).unwrap_or(true) {
            return Ok(());
        }
        Err(BuildError {
            what: format!("sinks.{}: on_seal: there is no {program}", context.name),
            remedy: "write the path of a program, or leave `on_seal` out".to_owned(),
        })
    }

    /// A link without fields is known before the first event: what is no link must not be there.
    fn try_link(&self, context: &SinkContext) -> Result<(), BuildError> {
        let Some(link) = self.template.link(&[]).filter(|_| !self.keyed()) else { return Ok(()) };
        let disk = context.disk.as_ref();
        let taken = disk.exists(&link).unwrap_or(false);
        if !taken || matches!(disk.points_at(&link), Ok(Some(_)) | Err(_)) {
            return Ok(());
        }
        let link = link.display();
        Err(BuildError {
            what: format!("sinks.{}: current: {link} is there and no symbolic link", context.name),
            remedy: "move it away, or give the link another name".to_owned(),
        })
    }

    /// The directory is there and may be written; what a crash left open is finished.
    fn prepare(&self, context: &SinkContext) -> Result<Vec<String>, BuildError> {
        let root = self.template.root();
        let disk = context.disk.as_ref();
        let refuse = |error: std::io::Error| BuildError {
            what: format!("sinks.{} cannot write in {}: {error}", context.name, root.display()),
            remedy: "make the directory writable for this user, or change `path`".to_owned(),
        };
        disk.create_dir_all(&root).map_err(refuse)?;
        let probe = root.join(format!(".flumen-probe-{}-{}", context.name, std::process::id()));
        // In a container every start has the same number, and a power cut may have left a probe.
        let _ = disk.remove(&probe);
        drop(disk.create_new(&probe).map_err(refuse)?);
        let given = disk.set_access(&probe, &self.access);
        disk.remove(&probe).map_err(refuse)?;
        given.map_err(|error| BuildError {
            what: format!("sinks.{} cannot give its files away: {error}", context.name),
            remedy: "leave out `owner`, `group` and `mode`, or grant CAP_CHOWN (systemd: \
                     AmbientCapabilities=CAP_CHOWN)"
                .to_owned(),
        })?;
        self.find_program(context)?;
        self.try_link(context)?;
        let owns = |path: &Path| self.template.owns(path, self.container());
        let recovered = recover(disk, &root, &owns, Mode::Repair).map_err(refuse)?;
        let mut names = DurableNames::below(root.clone());
        for file in &recovered {
            if let Outcome::Sealed(name) = &file.outcome {
                names.sync(disk, name).map_err(refuse)?;
            }
        }
        Ok(recovered.iter().map(|file| format!("recovered {file}")).collect())
    }
}

impl SinkPlan for Options {
    fn threads(&self) -> usize {
        self.threads
    }

    fn take_share(&mut self, agent_bytes: u64) {
        self.share_in(agent_bytes);
    }

    fn memory(&self, name: &str, event_bytes_max: usize) -> Vec<MemoryLine> {
        let sizes = self.sizes(event_bytes_max);
        let part = format!("sinks.{name}");
        let line = |what: String, bytes: usize| MemoryLine::new(part.clone(), what, bytes as u64);
        let context = self.level.context_bytes(self.codec, sizes.raw);
        let press = self.press();
        let threads = self.threads;
        let mut lines =
            vec![line(format!("{} contexts × {threads} threads", self.codec), context * threads)];
        if self.keyed() {
            let block = press.bound(sizes.raw);
            // A budget of chunks, and an event and a block on their way in and out.
            let open = self.block_memory() + sizes.raw + self.encoder().bound(event_bytes_max);
            lines.push(line(format!("open blocks × {threads} threads"), open * threads));
            lines.push(line(format!("keys remembered × {KEYS_MAX}"), KEY_BYTES * KEYS_MAX));
            let files = self.open_files_reckoned();
            lines.push(line(format!("open files × {files}"), OPEN_FILE_BYTES * files));
            let what = format!("finished blocks × {}", KEY_BUFFERS * threads);
            lines.push(line(what, block * KEY_BUFFERS * threads));
        } else {
            let block = press.bound(sizes.raw.max(limits::BATCH_BYTES_DEFAULT));
            lines
                .push(line(format!("encoded blocks × {}", threads + 1), sizes.raw * (threads + 1)));
            lines.push(line(
                format!("finished blocks × {}", self.buffers()),
                block * self.buffers(),
            ));
        }
        let hash = if self.chain.is_some() { size_of::<Hash>() } else { 0 };
        let entry = size_of::<BlockEntry>() + hash;
        lines.push(line("block index".to_owned(), entry * self.entries()));
        if self.keep_meta {
            let coders = if self.keyed() { threads } else { 1 };
            let bytes = META_CODER_BYTES * coders + META_FIELD_BYTES_MAX * threads;
            lines.push(line("times and peers".to_owned(), bytes));
        }
        if self.tokens {
            let bytes = TokenSieve::BYTES + TOKENS_FIELD_BYTES_MAX;
            lines.push(line(format!("words of blocks × {threads} threads"), bytes * threads));
        }
        // A codec that does nothing has no contexts to show.
        lines.retain(|line| line.bytes > 0);
        lines
    }

    fn pages_in_hand(&self) -> usize {
        // Parts of one batch in several threads' hands; keyed: what was dealt and not taken.
        if self.keyed() { self.threads * (DEALT_MAX + 1) } else { self.threads }
    }

    fn batch_age(&self) -> Duration {
        self.block_age / 8
    }

    fn path_slice(&self) -> Option<Duration> {
        self.template.slice().filter(|_| self.template.follows_the_clock())
    }

    fn wanted(&self) -> Fields {
        self.encoder().wanted().union(self.template.wanted())
    }

    fn keeps_datagrams(&self) -> bool {
        self.encoder().encoding() == Encoding::Datagram
    }

    fn headers(&self) -> Vec<(&'static str, HeaderNames)> {
        vec![("path", self.template.headers()), ("encoder", self.encoder().headers())]
    }

    fn names_fields(&self) -> bool {
        self.template.names_fields() || self.encoder().names_fields()
    }

    fn confirms(&self) -> (Reached, &'static str) {
        match self.sync {
            writer::Sync::Never => (Reached::Written, "it has `sync = \"never\"`"),
            writer::Sync::Every(_) | writer::Sync::Block => (Reached::Synced, ""),
        }
    }

    fn place(&self) -> Option<String> {
        Some(self.path_text.clone())
    }

    fn build(&self, context: &SinkContext) -> Result<Built, BuildError> {
        let notes = self.prepare(context)?;
        let (workers, helpers) =
            if self.keyed() { self.build_keyed(context) } else { self.build_ordered(context) };
        Ok(Built { workers, helpers, notes })
    }
}
