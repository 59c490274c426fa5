//! Files that include others: what is read, in which order, and every mistake with its place.

use std::fs;
use std::path::Path;

use super::super::document::Config;
use super::super::flume::around::Around;
use super::super::mistakes::check_cases;
use super::names;

/// Writes the files of a case: the first is flumen.toml; `# NAME` begins another one, `# NAME ->
/// TO` a link, and `# NAME/` a folder.
fn write(folder: &Path, case: &str) {
    let mut files = vec![("flumen.toml", String::new())];
    for line in case.lines() {
        match line.strip_prefix("# ") {
            Some(name) => files.push((name, String::new())),
            None => {
                let (_, text) = files.last_mut().expect("there is a first one");
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    for (name, text) in files {
        if let Some((link, to)) = name.split_once(" -> ") {
            std::os::unix::fs::symlink(to, folder.join(link)).expect("the link can be made");
            continue;
        }
        let path = folder.join(name);
        let above = if name.ends_with('/') { Some(path.as_path()) } else { path.parent() };
        fs::create_dir_all(above.expect("it is in a folder")).expect("the folder can be made");
        if !name.ends_with('/') {
            fs::write(&path, text).expect("the file can be written");
        }
    }
}

/// The configuration at `path` below a folder with these files, and what is told, without the
/// folder's name.
fn loaded(case: &str, path: &str) -> (Option<Config>, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    write(folder.path(), case);
    let above = format!("{}/", folder.path().display());
    let named = folder.path().join(path);
    let (config, diagnostics) = match Config::load(&named, &Around::fixed(&[], &[])) {
        Ok(config) => {
            config.agent(None);
            let diagnostics = config.diagnostics().clone();
            (Some(config), diagnostics)
        }
        Err(diagnostics) => (None, diagnostics),
    };
    let told = diagnostics.lines();
    (config, told.into_iter().map(|line| line.replace(&above, "")).collect())
}

/// Names of the sources, in order, of a case in which nothing is wrong.
#[track_caller]
fn sources(case: &str, path: &str) -> Vec<String> {
    let (config, told) = loaded(case, path);
    let wrong: Vec<&String> = told.iter().filter(|line| !line.contains(" note: ")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let agent = config.and_then(|config| config.agent(None)).expect("it describes an agent");
    agent.sources.iter().map(|source| source.name.value.clone()).collect()
}

#[test]
fn mistakes_in_files_that_include_others_are_told_with_place_and_remedy() {
    check_cases(include_str!("mistakes_in_files.txt"), |case| loaded(case, "flumen.toml").1);
}

#[test]
fn the_file_comes_first_then_what_it_includes_each_with_its_own() {
    let case = "include = ['z.toml', 'conf.d/*.toml']\n[sources.first]\n\
                # conf.d/9-last.toml\n[sources.last]\n\
                # conf.d/10-in.toml\ninclude = 'more/x.toml'\n[sources.in]\n\
                # conf.d/more/x.toml\n[sources.x]\n\
                # z.toml\n[sources.z]\n";
    assert_eq!(sources(case, "flumen.toml"), ["first", "z", "in", "x", "last"]);
}

#[test]
fn a_directory_is_its_toml_files_by_name() {
    let case = "[sources.main]\n# 20.toml\n[sources.b]\n# 10.toml\n[sources.a]\n# sub/x.toml\n[x]\n\
                # README\n[[[\n# .hidden.toml\n[[[\n# 10.toml~\n[[[\n# #10.toml#\n[[[\n# d.toml/\n";
    assert_eq!(sources(case, "."), ["a", "b", "main"]);
    assert_eq!(sources(&format!("include = '.'\n{case}"), "20.toml"), ["b"]);
    let (_, told) = loaded(case, ".");
    assert_eq!(
        told,
        [
            "1:1: note: ./README is not read: it is no *.toml",
            "1:1: note: ./.hidden.toml is not read: hidden files and copies are passed over",
        ]
    );
    let included = case.replace("[sources.main]\n#", "include = 'd'\n[sources.main]\n#");
    let included = included.replace("\n# ", "\n# d/");
    assert_eq!(sources(&included, "flumen.toml"), ["main", "a", "b"]);
}

#[test]
fn hidden_files_and_copies_are_passed_over_unless_they_are_named() {
    let case =
        "include = 'd/*'\n# d/a\n[sources.a]\n# d/a~\n[[[\n# d/.a.swp\n[[[\n# d/a.dpkg-old\n";
    assert_eq!(sources(case, "flumen.toml"), ["a"]);
    let (_, told) = loaded(case, "flumen.toml");
    assert_eq!(told.iter().filter(|line| line.contains("are passed over")).count(), 3, "{told:?}");
    let case =
        "include = ['d/a.toml.bak', 'd/.a*']\n# d/a.toml.bak\n[sources.a]\n# d/.ab\n[sources.b]\n";
    assert_eq!(sources(case, "flumen.toml"), ["a", "b"]);
}

#[test]
fn a_directory_without_configuration_is_told_with_what_is_there() {
    let said = |case: &str| loaded(case, "d").1;
    let empty = "1:1: there is no *.toml in this directory";
    let name = "name a configuration file, or a directory with some";
    assert_eq!(said("# d/\n"), [format!("{empty} ({name})")]);
    assert_eq!(said("# d/a.txt\nx\n"), [format!("{empty} ({name})")]);
    let flume = "# d/b.txt\nx\n# d/flume.conf\na1.sources = r1\n";
    assert_eq!(said(flume), [format!("{empty} (name the file in it: d/flume.conf)")]);
}

#[test]
fn one_agent_comes_of_all_files() {
    let case = "include = '*.d'\n[agent]\nmemory = '1GiB'\n[channels.c]\n\
                # a.d\n[agent]\nname = 'edge'\n\
                [sinks.s]\n# b.d\n[agent]\ndrain = '5s'\n";
    let config = loaded(case, "flumen.toml").0.expect("it can be read");
    let toml = "[agent]\nmemory = \"1GiB\"\nname = \"edge\"\ndrain = \"5s\"\n\n[channels.c]\n\n\
                [sinks.s]\n";
    assert_eq!(config.to_toml(), toml);
    let case = "include = '*.d'\n[agents.a.sources.x]\n# a.d\n[agents.b.sources.x]\n[agents.a]\n\
                drain = '5s'\n[agents.a.sinks.y]\n";
    let config = loaded(case, "flumen.toml").0.expect("it can be read");
    let toml = "[agents.a]\ndrain = \"5s\"\n\n[agents.a.sources.x]\n\n[agents.a.sinks.y]\n\n\
                [agents.b]\n\n[agents.b.sources.x]\n";
    assert_eq!(config.to_toml(), toml);
}

#[test]
fn bytes_that_are_not_utf8_are_shown_in_their_file() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    write(folder.path(), "include = 'b.toml'\n[sources.a]\n");
    fs::write(folder.path().join("b.toml"), b"\n\xFF").expect("the file can be written");
    let path = folder.path().join("flumen.toml");
    let config = Config::load(&path, &Around::fixed(&[], &[])).expect("the first can be read");
    let told = config.diagnostics().lines();
    let place = format!("{}/b.toml:2:1: the byte 0xFF", folder.path().display());
    assert!(told.len() == 1 && told[0].starts_with(&place), "{told:?}");
}

#[test]
fn all_files_together_are_no_larger_than_one_may_be() {
    let half = "#".repeat(super::FILE_BYTES_MAX / 2);
    let folder = tempfile::tempdir().expect("a folder for the test");
    write(folder.path(), "include = '?.toml'\n[sources.a]\n");
    fs::write(folder.path().join("a.toml"), &half).expect("the file can be written");
    let path = folder.path().join("flumen.toml");
    let told = || {
        let config = Config::load(&path, &Around::fixed(&[], &[]));
        config.expect("the first can be read").diagnostics().lines().join("\n")
    };
    assert_eq!(told(), "");
    fs::write(folder.path().join("b.toml"), &half).expect("the file can be written");
    assert!(
        told().contains("b.toml makes a configuration that is larger than 4 MiB"),
        "{}",
        told()
    );
}

#[test]
fn a_pattern_longer_than_any_name_is_told() {
    let case = format!("include = '{}'\n[sources.a]\n", "?".repeat(100_000));
    let (_, told) = loaded(&case, "flumen.toml");
    assert!(told.len() == 1 && told[0].contains("no file has so long a name"), "{told:?}");
}

#[test]
fn patterns_are_those_of_a_shell() {
    let matches = |pattern, name| names(pattern).is_some_and(|names| names.is_match(name));
    for (pattern, name) in [
        ("*", ""),
        ("*", "é"),
        ("*.toml", ".toml"),
        ("a*b*c", "aXbbYc"),
        ("?é", "éé"),
        ("**", "x"),
        ("?", "\n"),
    ] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("", "a"),
        ("*.toml", "a.tom"),
        ("*.toml", "a.toml~"),
        ("?", ""),
        ("a*b", "abc"),
        ("A", "a"),
        ("a.b", "axb"),
        (r"\w", "x"),
    ] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
}
