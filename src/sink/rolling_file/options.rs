//! Options of the `file` sink, valid once built.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use rustix::process::{Resource, getrlimit};

use super::OPEN_FILE_BYTES;
use super::avro;
use super::block::container_of;
use super::chain::{CHAIN, Chain, SEAL_KEY};
use super::level::Level;
use super::path::{Clock, Template};
use super::roll_policy::RollPolicy;
use super::writer::Sync;
use crate::codec::{Codec, Encoding};
use crate::config::{Amount, OptionDoc, Section};
use crate::limits;
use crate::sink::encoding::{self, SharedEncoder};
use crate::sink::{SinkKind, SinkPlan};
use crate::storage::avro::Marker;
use crate::storage::retention::{DiskFree, Keep};
use crate::storage::{Access, Container};
use crate::sys::accounts;

pub const KIND: SinkKind = SinkKind {
    name: "file",
    aliases: &[],
    summary: "compressed rolling files, readable at any instant",
    options: OPTIONS,
    plan: |section| Box::new(plan(section)) as Box<dyn SinkPlan>,
};

const fn row(name: &'static str, default: Option<&'static str>, doc: &'static str) -> OptionDoc {
    OptionDoc { name, default, doc }
}

const OPTIONS: &[OptionDoc] = &[
    row("path", None, "file path with escapes such as %Y %m %d %H, %{host} and %{app}"),
    row("threads", Some("1"), "compression threads"),
    encoding::ENCODER_OF_FILES,
    encoding::CONTROL,
    row("codec", Some("zstd"), "zstd, gzip, lz4, lzo (slow) or none"),
    row(
        "level",
        Some(""),
        "compression level, or \"adapt\": the best there is time for; the codec's own default",
    ),
    row("zone", Some("local"), "time zone of path escapes, an IANA name or local"),
    row("time", Some("received"), "whose time stands in the path: received or message"),
    row(
        "open_files",
        Some(""),
        "files open at once, or the idlest are finished; 16,384, within 3/4 of our descriptors \
         and 1/16 of agent.memory",
    ),
    row("mode", Some(""), "permission bits of files, in octal as \"0640\"; by default the umask's"),
    row("owner", Some(""), "user who files are given to, a name or a number"),
    row("group", Some(""), "group who files are given to, a name or a number"),
    row("current", Some(""), "symbolic link to the newest file, with the fields of the path"),
    row("on_seal", Some(""), "program and arguments to run for each finished file, its path last"),
    row("roll", Some(""), "when a file is finished"),
    row("keep", Some(""), "which finished files are kept; all by default"),
    row("block", Some(""), "when a block is finished"),
    row("keep_meta", Some("false"), "time and peer of each event in the headers of blocks"),
    row(
        "tokens",
        Some("false"),
        "the words of each block in its header: grep -w passes over others",
    ),
    CHAIN,
    SEAL_KEY,
    row("sync", Some("1s"), "fdatasync at least so often, or block, or never"),
];

const ROLL: &[OptionDoc] = &[
    row("bytes", Some("1GiB"), "stored bytes"),
    row(
        "age",
        Some("1h"),
        "time since it was opened; files by the event in turns, within the last eighth",
    ),
    row("idle", Some("10m"), "time since the last event"),
];

const KEEP: &[OptionDoc] = &[
    row("bytes", Some(""), "stored bytes of all finished files"),
    row("age", Some(""), "time since the last write to a file"),
    row("files", Some(""), "number of finished files"),
    row("disk_free", Some(""), "free space on the disk, bytes or percent"),
];

const BLOCK: &[OptionDoc] = &[
    row("bytes", Some("1MiB"), "bytes before compression"),
    row("age", Some("1s"), "readable in the file at most so long after it came"),
    row(
        "memory",
        Some(""),
        "open blocks of each thread, when the path depends on the event; a third of agent.memory",
    ),
];

/// Open blocks of keys get this share of `agent.memory`, and what they do not use is never touched:
/// 17 KiB a key when ten thousand share 512 MiB.
const MEMORY_SHARE: u64 = 3;
/// Blocks of 64 KiB of as many keys as are remembered.
const BLOCK_MEMORY_SHARED_MAX: u64 = 1 << 30;
/// Without a word about it as many files are open as keys are remembered, but no more than three
/// quarters of the descriptors: connections need some, too.
const OPEN_FILES_MAX: usize = 16 << 10;
/// More than most have of descriptors.
const OPEN_FILES_MIN: usize = 1024;
/// And no more than cost this share of `agent.memory`: 13,000 of 256 MiB.
const OPEN_FILES_SHARE: u64 = 16;

/// Any event fits, as JSON too.
const BLOCK_MEMORY: RangeInclusive<u64> = 8 * limits::EVENT_BYTES_MAX as u64..=16 << 30;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) path_text: String,
    pub(super) template: Arc<Template>,
    pub(super) threads: usize,
    encoder: SharedEncoder,
    pub(super) codec: Codec,
    /// Files are Avro's, with this behind each block.
    pub(super) avro: Option<Marker>,
    /// Each event's time and peer stand in the header of its block.
    pub(super) keep_meta: bool,
    /// Each block's words stand in its header.
    pub(super) tokens: bool,
    /// Blocks are chained, and each file's chain has an end.
    pub(super) chain: Option<Chain>,
    pub(super) level: Level,
    pub(super) roll: RollPolicy,
    pub(super) keep: Keep,
    pub(super) block_bytes: usize,
    pub(super) block_age: Duration,
    /// None: a share of the agent's.
    block_memory: Option<usize>,
    agent_bytes: u64,
    pub(super) access: Access,
    pub(super) on_seal: Vec<String>,
    pub(super) sync: Sync,
    open_files: Option<usize>,
}

impl Options {
    pub(super) fn encoder(&self) -> SharedEncoder {
        Arc::clone(&self.encoder)
    }

    pub(super) fn share_in(&mut self, agent_bytes: u64) {
        self.agent_bytes = agent_bytes;
    }

    /// Of the open blocks of one thread.
    pub(super) fn block_memory(&self) -> usize {
        let share = self.agent_bytes / MEMORY_SHARE / self.threads as u64;
        let share = share.clamp(*BLOCK_MEMORY.start(), BLOCK_MEMORY_SHARED_MAX);
        self.block_memory.unwrap_or_else(|| as_usize(share))
    }

    /// Files that one thread has open at once.
    pub(super) fn open_files(&self) -> usize {
        let all = self.open_files.unwrap_or_else(|| {
            let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            as_usize(limit / 4 * 3).min(self.open_files_reckoned())
        });
        (all / self.threads).max(1)
    }

    /// Files that memory is reckoned for: of all threads, whatever descriptors there are.
    pub(super) fn open_files_reckoned(&self) -> usize {
        let share = as_usize(self.agent_bytes / OPEN_FILES_SHARE) / OPEN_FILE_BYTES;
        self.open_files.unwrap_or_else(|| share.clamp(OPEN_FILES_MIN, OPEN_FILES_MAX))
    }
}

fn plan(section: &Section) -> Options {
    let zone = zone(section);
    let path_text = section.text("path");
    let by = section.choice("time", &[("received", Clock::Received), ("message", Clock::Message)]);
    let template = Template::parse(&path_text, zone.clone(), by).unwrap_or_else(|error| {
        // An absent path was told by its getter.
        if section.explicit("path") {
            section.fail("path", &error.what, &error.remedy);
        }
        Template::parse("unknown", zone, by).expect("a plain name is a good template")
    });
    let template = with_link(section, template);
    let encoder = encoding::plan_for_files(section);
    let codec = codec(section);
    let avro = (encoder.encoding() == Encoding::Avro).then(|| avro::plan(section, codec));
    // Nothing of ours can hide in them.
    let hiding = if avro.is_some() { Container::Plain } else { container_of(codec) };
    check_suffix(section, &path_text, hiding);
    if encoder.encoding() == Encoding::Datagram {
        check_records(section, codec);
    }
    let threads = usize::try_from(section.integer("threads", 1..=limits::THREADS_MAX as i64));
    let block = section.subsection("block", BLOCK);
    let sync = section.duration_or_choice(
        "sync",
        Sync::Every,
        &[("block", Sync::Block), ("never", Sync::Never)],
    );
    Options {
        path_text,
        template: Arc::new(template),
        threads: threads.unwrap_or(1),
        encoder,
        codec,
        avro,
        keep_meta: keep_meta(section, hiding),
        tokens: tokens(section, hiding),
        chain: Chain::plan(section, hiding),
        level: level(section, codec),
        roll: roll(section),
        keep: keep(section),
        block_bytes: usize::try_from(block.size_in("bytes", 4 << 10..=16 << 20)).unwrap_or(1 << 20),
        block_memory: block.optional_size_in("memory", BLOCK_MEMORY).map(as_usize),
        agent_bytes: 0,
        access: access(section),
        on_seal: on_seal(section),
        block_age: block.duration_in("age", Duration::from_millis(10)..=Duration::from_secs(3600)),
        sync,
        open_files: section
            .optional_integer("open_files", 1..=1_000_000)
            .map(|it| as_usize(it as u64)),
    }
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn with_link(section: &Section, mut template: Template) -> Template {
    if let Some(text) = section.optional_text("current")
        && let Err(error) = template.set_link(&text)
    {
        section.fail("current", &error.what, &error.remedy);
    }
    template
}

fn zone(section: &Section) -> TimeZone {
    let name = section.text("zone");
    if name == "local" {
        return TimeZone::system();
    }
    TimeZone::get(&name).unwrap_or_else(|_| {
        let remedy = "write \"local\", \"UTC\" or an IANA name such as \"Europe/Berlin\"";
        section.fail("zone", format!("no time zone `{name}`"), remedy);
        TimeZone::UTC
    })
}

fn access(section: &Section) -> Access {
    Access {
        owner: account(section, "owner", "user", accounts::user),
        group: account(section, "group", "group", accounts::group),
        mode: mode(section),
    }
}

fn account(
    section: &Section,
    key: &'static str,
    what: &str,
    find: fn(&str) -> Option<u32>,
) -> Option<u32> {
    let name = section.optional_text(key)?;
    let found = name.parse().ok().or_else(|| find(&name));
    if found.is_none() {
        let remedy = format!("create it, or write the number of a {what}");
        section.fail(key, format!("no {what} is called `{name}` on this machine"), remedy);
    }
    found
}

fn mode(section: &Section) -> Option<u32> {
    let text = section.optional_text("mode")?;
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    let refuse = |what: String, remedy: &str| section.fail("mode", what, remedy);
    match mode {
        None => refuse(format!("`{text}` are no permission bits"), "write \"0640\" or \"0600\""),
        Some(mode) if mode & 0o600 != 0o600 => {
            refuse(format!("with `{text}` the owner could not write"), "begin with a 6: \"0640\"");
        }
        Some(_) => {}
    }
    mode
}

fn on_seal(section: &Section) -> Vec<String> {
    let words: Vec<String> = section.texts("on_seal").into_iter().map(|word| word.value).collect();
    if words.first().is_some_and(|program| !program.starts_with('/')) {
        let what = "`on_seal` begins with no absolute path";
        let remedy =
            "write [\"/usr/local/bin/ship\", \"--fast\"]: no shell and no PATH look for it";
        section.fail("on_seal", what, remedy);
    }
    words
}

fn codec(section: &Section) -> Codec {
    let name = section.text("codec");
    Codec::from_name(&name).unwrap_or_else(|| {
        let others = "write \"zstd\", \"gzip\", \"lz4\" or \"none\"";
        match Codec::feature_missing(&name) {
            None => section.fail("codec", format!("no codec `{name}`"), others),
            Some(feature) => {
                let what = format!("this flumen was built without its codec `{feature}`");
                let remedy = format!("build it with `--features {feature}`, or {others}");
                section.fail("codec", what, remedy);
            }
        }
        Codec::Zstd
    })
}

/// A file is read as its name says: after a crash, too.
fn check_suffix(section: &Section, path: &str, container: Container) {
    let suffix = Container::from_name(path).suffix();
    if suffix.is_empty() {
        return;
    }
    let own = container.suffix();
    if own.is_empty() {
        let what = format!("files that end in `{suffix}` are read as such, and these are plain");
        section.fail("path", what, format!("take `{suffix}` off the path, or set `codec`"));
    } else {
        let what = format!("the codec adds `{own}`: the files end in `{suffix}{own}`");
        section.warn("path", &what, format!("take `{suffix}` off the path"));
    }
}

/// Options that have no meaning for records.
fn check_records(section: &Section, codec: Codec) {
    if codec == Codec::None {
        let what = "`codec = \"none\"` writes lines, and the encoder `datagram` writes none";
        section.fail("codec", what, "take \"lz4\", the cheapest, or \"zstd\"");
    } else if !container_of(codec).headed() {
        let what = format!("{WITHOUT_HEADERS} to tell that records of `datagram` are in it");
        section.fail("codec", what, "take \"lz4\", the cheapest, or \"zstd\"");
    }
    if section.explicit("control") {
        let what = "`control` has no effect on the encoder `datagram`: every byte is kept";
        section.warn("control", what, "leave it out");
    }
    for key in ["keep_meta", "tokens"].into_iter().filter(|key| section.explicit(key)) {
        let what = format!("`{key}` is of no use to the encoder `datagram`: it keeps times itself");
        section.warn(key, what, "leave it out");
    }
}

const WITHOUT_HEADERS: &str = "a file of lzop's has no headers of ours";

/// What is kept in headers needs some.
pub(super) fn check_headers(section: &Section, key: &'static str, of: &str, container: Container) {
    let whose = match container {
        Container::Plain => "plain text has no headers",
        Container::Lzo => WITHOUT_HEADERS,
        Container::Gzip | Container::Lz4 | Container::Zstd => return,
    };
    let remedy = format!("write codec = \"lz4\", the cheapest with headers, or leave `{key}` out");
    section.fail(key, format!("{whose} to keep {of} in"), remedy);
}

fn keep_meta(section: &Section, container: Container) -> bool {
    if !section.flag("keep_meta") {
        return false;
    }
    check_headers(section, "keep_meta", "times and peers", container);
    if section.text("control") == "keep" {
        let remedy = "leave out `control` or `keep_meta`";
        section.fail("keep_meta", "with `control = \"keep\"` a line may be no whole event", remedy);
    }
    true
}

fn tokens(section: &Section, container: Container) -> bool {
    let asked = section.flag("tokens");
    if asked {
        check_headers(section, "tokens", "words", container);
    }
    asked
}

fn level(section: &Section, codec: Codec) -> Level {
    let kind = codec.kind();
    let read = |range| {
        let fixed = |level| Level::Fixed(i32::try_from(level).unwrap_or(kind.level_default));
        section.optional_integer_or_choice("level", range, fixed, &[("adapt", Level::Adapt)])
    };
    let Some(levels) = kind.levels.clone() else {
        if read(i64::MIN..=i64::MAX).is_some() {
            let what = format!("`level` has no effect on {}", kind.name);
            section.warn("level", &what, "leave it out, or take zstd or gzip");
        }
        return Level::Fixed(kind.level_default);
    };
    let range = i64::from(*levels.start())..=i64::from(*levels.end());
    read(range).unwrap_or(Level::Fixed(kind.level_default))
}

fn roll(section: &Section) -> RollPolicy {
    let roll = section.subsection("roll", ROLL);
    let second = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
    RollPolicy {
        bytes: Some(roll.size_in("bytes", 64 << 10..=1 << 50)),
        age: Some(roll.duration_in("age", second.clone())),
        idle: Some(roll.duration_in("idle", second)),
    }
}

fn keep(section: &Section) -> Keep {
    let keep = section.subsection("keep", KEEP);
    Keep {
        bytes: keep.optional_size("bytes"),
        age: keep.optional_duration("age"),
        files: keep
            .optional_integer("files", 1..=i64::MAX)
            .and_then(|files| u64::try_from(files).ok()),
        disk_free: keep.optional_amount("disk_free").map(|amount| match amount {
            Amount::Bytes(bytes) => DiskFree::Bytes(bytes),
            Amount::Percent(percent) => DiskFree::Percent(percent),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold() {
        crate::config::check_docs(OPTIONS, "path = '/l/all.log'", |section| {
            plan(section);
        });
    }

    /// Who writes pieces and who finds them agree on what is around them.
    #[cfg(feature = "lzo")]
    #[test]
    fn two_rooms_know_the_same_file_of_lzop() {
        use crate::storage;
        let around = Codec::Lzo.kind().around;
        assert_eq!(around.front, storage::lzop::HEAD);
        assert_eq!(around.end, storage::lzop::END);
        assert_eq!(Container::from_name("x.lzo"), container_of(Codec::Lzo));
    }

    #[cfg(not(feature = "lzo"))]
    #[test]
    fn an_absent_codec_is_refused_by_name() {
        for name in ["lzo", "lzop"] {
            let section = Section::parse(&format!("path = '/l/x'\ncodec = '{name}'"), OPTIONS);
            plan(&section);
            let lines = section.diagnostics().lines();
            let what = "this flumen was built without its codec `lzo` (build it with \
                        `--features lzo`, or write \"zstd\", \"gzip\", \"lz4\" or \"none\"";
            assert!(lines.iter().any(|said| said.contains(what)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands() {
        for (text, line) in [
            ("path = '/l/'", "a directory, not a file"),
            ("path = '/l/%{raw}'", "`%{raw}` is no field of a path (there is `host`"),
            ("path = '/l/x'\ntime = 'sent'", "\"sent\" is not known"),
            ("path = '/l/x.gz'\ncodec = 'none'", "end in `.gz` are read as such"),
            ("path = '/l/x.zst'", "the files end in `.zst.zst`"),
            ("path = '/l/x'\ncodec = 'bzip2'", "no codec `bzip2`"),
            ("path = '/l/x'\nencoder = 'xml'", "no encoder `xml`"),
            ("path = '/l/x'\nencoder = { template = '%{x y}' }", "`%{x y}` is no field"),
            ("path = '/l/x'\nzone = 'Mars/Base'", "no time zone `Mars/Base`"),
            ("path = '/l/x'\nmode = '0999'", "`0999` are no permission bits"),
            ("path = '/l/x'\nmode = '0444'", "with `0444` the owner could not write"),
            ("path = '/l/x'\nowner = 'no-such-user'", "no user is called `no-such-user`"),
            ("path = '/l/x'\ngroup = 'no-such-group'", "no group is called `no-such-group`"),
            ("path = '/l/x'\ncurrent = '/l/x'", "the same name as `path`"),
            ("path = '/l/x'\ncurrent = '/l/'", "a directory, not a file"),
            ("path = '/l/x'\ncurrent = '/l/%{host}'", "other fields than in `path`"),
            ("path = '/l/%{host}'\ncurrent = '/l/x'", "other fields than in `path`"),
            ("path = '/l/%Y/x'\ncurrent = '/l/%Y'", "a time in the name of the link"),
            ("path = '/l/x'\ncurrent = '/l/%[opened]'", "a time in the name of the link"),
            ("path = '/l/%[open]'", "`%[open]` is no path escape"),
            ("path = '/l/x'\non_seal = 'ship'", "`on_seal` begins with no absolute path"),
            ("path = '/l/x'\nblock = { memory = '1MiB' }", "1MiB is below 2MiB"),
            ("path = '/l/x'\nencoder = 'datagram'\ncodec = 'none'", "`datagram` writes none"),
            ("path = '/l/x'\nencoder = 'datagram'\ncontrol = 'keep'", "no effect on the encoder"),
            ("path = '/l/x'\ncodec = 'none'\nkeep_meta = true", "plain text has no headers"),
            ("path = '/l/x'\ncodec = 'none'\ntokens = true", "no headers to keep words in"),
            ("path = '/l/x'\ncodec = 'none'\nchain = true", "no headers to keep hashes in"),
            ("path = '/l/x.lzo'", "the files end in `.lzo.zst`"),
            ("path = '/l/x.lzo'\ncodec = 'none'", "end in `.lzo` are read as such"),
            ("path = '/l/x'\nseal_key = '/k.pem'", "`seal_key` signs chains, and there are none"),
            ("path = '/l/x'\ncontrol = 'keep'\nkeep_meta = true", "may be no whole event"),
            ("path = '/l/x'\ncodec = 'lz4'\nlevel = 3", "`level` has no effect on lz4"),
            ("path = '/l/x'\ncodec = 'lz4'\nlevel = 'adapt'", "`level` has no effect on lz4"),
            ("path = '/l/x'\nlevel = 'best'", "from -7 to 19, or \"adapt\""),
            ("path = '/l/x'\nlevel = 20", "20 is above 19"),
        ] {
            let section = Section::parse(text, OPTIONS);
            plan(&section);
            let lines = section.diagnostics().lines();
            assert!(lines.iter().any(|said| said.contains(line)), "{text}: {lines:?}");
        }
    }
}
