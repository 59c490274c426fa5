//! What takes a restart and what does not.

use crate::config::Config;
use crate::topology::{Machine, Parts, Shape, Step, plan};

const BASE: &str = "[agent]\nadmin = 'off'\n\
    [sources.in]\ntype = 'stdin'\nchannels = ['a', 'b']\n\
    [channels.a]\ntype = 'memory'\n[channels.b]\ntype = 'memory'\n\
    [sinks.one]\ntype = 'file'\nchannel = 'a'\npath = '/l/one.log'\n\
    [sinks.two]\ntype = 'null'\nchannel = 'b'\n";

fn planned(text: &str) -> crate::topology::Plan {
    let config = Config::parse(text);
    let plan = config
        .agent(None)
        .and_then(|agent| plan(&agent, &Parts::default(), &Machine { cores: vec![0, 1, 2, 3] }));
    plan.unwrap_or_else(|| panic!("{}", config.diagnostics().render(false)))
}

/// Sinks that are replaced, and the settings named.
type Taken = (Vec<usize>, Vec<String>);
/// The settings named, and the reasons.
type Refused = (Vec<String>, Vec<String>);

fn step(from: &str, to: &str) -> Result<Taken, Refused> {
    match Shape::of(&planned(from)).step(planned(to)) {
        Step::None => Ok((Vec::new(), Vec::new())),
        Step::Sinks { sinks, settings, shape } => {
            // Once taken there is nothing more to do.
            assert!(matches!(shape.step(planned(to)), Step::None));
            Ok((sinks.iter().map(|(index, _)| *index).collect(), settings))
        }
        Step::Restart { settings, reasons } => Err((settings, reasons)),
    }
}

#[track_caller]
fn taken(to: &str, sinks: &[usize], settings: &[&str]) {
    let (replaced, named) = step(BASE, to).unwrap_or_else(|told| panic!("{told:?}"));
    assert_eq!((replaced.as_slice(), named.len()), (sinks, settings.len()), "{named:?}");
    assert!(named.iter().zip(settings).all(|(name, wanted)| name == wanted), "{named:?}");
}

#[track_caller]
fn refused(to: &str, setting: &str, reason: &str) {
    let (named, reasons) = step(BASE, to).expect_err("it takes a restart");
    assert!(named.iter().any(|name| name == setting), "{named:?}");
    assert!(reasons.iter().any(|told| told == reason), "{reasons:?}");
}

#[test]
fn what_is_a_sinks_alone_is_taken() {
    taken(BASE, &[], &[]);
    taken(&BASE.replace("one.log", "other.log"), &[0], &["sinks.one.path"]);
    let keeps = BASE.replace("'/l/one.log'", "'/l/one.log'\nkeep = { files = 5 }\nsync = '2s'");
    taken(&keeps, &[0], &["sinks.one.keep.files", "sinks.one.sync"]);
}

#[test]
fn what_others_have_a_part_in_is_not() {
    let drain = BASE.replace("[sources.in]", "drain = '5s'\n[sources.in]");
    refused(&drain, "agent.drain", "agent.drain is no sink's");
    let threads = BASE.replace("'null'", "'null'\nthreads = 2");
    refused(&threads, "sinks.two.threads", "sinks.two has another number of threads");
    let block = BASE.replace("one.log'", "one.log'\nblock = { age = '80ms' }");
    refused(&block, "sinks.one.block.age", "sources.in would read or hand over otherwise");
    let filter = BASE.replace("'null'", "'null'\nfilters = [{ keep = { app = 'x' } }]");
    refused(&filter, "sinks.two.filters", "sinks.two begins or ends to have filters");
    let more = format!("{BASE}[sinks.three]\ntype = 'null'\nchannel = 'b'\n");
    refused(&more, "sinks.three.type", "there are more sinks, or fewer");
    let memory = BASE.replace("one.log'", "one.log'\nlevel = 19\nblock = { bytes = '4MiB' }");
    let reason = "agent.memory is dealt out at the start, and this needs more of it";
    refused(&memory, "sinks.one.level", reason);
    let swapped = BASE.replace("channel = 'a'", "channel = 'x'").replace("= 'b'\n", "= 'a'\n");
    let swapped = swapped.replace("channel = 'x'", "channel = 'b'");
    refused(&swapped, "sinks.one.channel", "sinks.one stands elsewhere");
    // Beside what cannot be taken nothing is.
    let both = drain.replace("one.log", "other.log");
    refused(&both, "sinks.one.path", "agent.drain is no sink's");
}
