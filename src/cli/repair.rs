//! `flumen repair`: what start-up recovery does, by hand.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output::{finish, tell};
use crate::storage::catalog::OPEN_SUFFIX;
use crate::storage::recovery::{Mode, Outcome, Recovered, recover, recover_file};
use crate::storage::{Disk, OsDisk};

/// Cuts unfinished files to their last whole block and finishes them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: flumen repair --dry-run /var/log/flumen\n\n\
    Only files that end in .open are touched, and none that a running agent holds. Bytes that\n\
    are no whole block are cut and counted; a file without any is set aside as .bad.")]
pub struct RepairArgs {
    /// Files that end in .open, or directories to walk
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Says what would be done, and changes nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(args: &RepairArgs) -> ExitCode {
    finish("repair", repair(args, &mut io::stdout().lock()))
}

fn repair(args: &RepairArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Repair };
    let others: Vec<_> =
        args.paths.iter().filter(|path| !(path.is_dir() || is_open(path))).collect();
    for other in &others {
        let why = if other.exists() {
            "does not end in .open: finished files are never changed"
        } else {
            "no such file or directory"
        };
        tell("repair", format_args!("{}: {why}", other.display()));
    }
    if !others.is_empty() {
        return Ok(ExitCode::from(2));
    }
    let (mut count, mut failed) = (0_u64, false);
    for path in &args.paths {
        let done = if OsDisk.facts(path).is_ok_and(|facts| facts.is_dir) {
            recover(&OsDisk, path, &|_| true, mode)
        } else {
            Ok(vec![recover_file(&OsDisk, path, mode)])
        };
        if let Err(error) = &done {
            tell("repair", format_args!("{}: {error}", path.display()));
            failed = true;
        }
        for one in done.unwrap_or_default() {
            count += 1;
            failed |= matches!(one.outcome, Outcome::Failed(_) | Outcome::Gone);
            line(args.dry_run, &one, out)?;
        }
    }
    if count == 0 && !failed {
        writeln!(out, "nothing to repair: no .open file")?;
    }
    out.flush()?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(dry_run: bool, one: &Recovered, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}{one}", if dry_run { "would: " } else { "" })
}

fn is_open(path: &Path) -> bool {
    path.exists() && path.as_os_str().to_string_lossy().ends_with(OPEN_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(paths: &[PathBuf], dry_run: bool) -> String {
        let mut out = Vec::new();
        repair(&RepairArgs { paths: paths.to_vec(), dry_run }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_dry_run_tells_what_the_repair_then_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log.open");
        std::fs::write(&path, "one\ntw").unwrap();
        let dirs = [dir.path().to_owned()];
        let said = told(&dirs, true);
        assert!(said.contains("would: ") && said.contains("2 bytes cut") && path.exists());
        assert_eq!(told(&dirs, false), said.replace("would: ", ""));
        assert_eq!(std::fs::read(dir.path().join("x.log")).unwrap(), b"one\n");
        assert_eq!(told(&dirs, false), "nothing to repair: no .open file\n");
    }
}
