//! `gregor doctor`: what this machine lacks for building and running gregor and its tasks, and the exact command that gets it. Refuses to install
//! or change anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use gregor_model::limits::MIB;
use rustix::process::Resource;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::job_file::amounts::show_size;
use crate::output::{self, Style};

/// Free space below which even a small job may not get far: RocksDB's files and a few checkpoints.
const FREE_BYTES_MIN: u64 = 1024 * MIB;
/// Files that a process must be allowed to open: seven for each task's store, a few hundred tasks.
const DESCRIPTORS_MIN: u64 = 4096;

/// What was found out about one need.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Finding {
    /// What is needed.
    name: &'static str,
    /// What it is for.
    why: &'static str,
    /// Whether it is there.
    ok: bool,
    /// What was found.
    found: String,
    /// The command that gets it; none where it is there.
    remedy: Option<String>,
}

/// A need and how it is met.
struct Need {
    name: &'static str,
    why: &'static str,
    remedy: String,
}

/// Looks around and prints what was found.
///
/// # Errors
/// Something needed is missing, or stdout can't be written.
pub(crate) fn doctor(data: Option<&Path>, style: Style) -> Result<Exit, Failure> {
    let findings = look(data.unwrap_or(Path::new(".")));
    let shown = match style {
        Style::Json => output::result_json(&findings),
        Style::Text => output::result(&text(&findings)),
    };
    shown.map_err(Failure::failed)?;
    let missing: Vec<&str> = findings.iter().filter(|finding| !finding.ok).map(|finding| finding.name).collect();
    if missing.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::failed(anyhow::anyhow!("missing on this machine: {}; the commands above get them", missing.join(", "))))
}

fn look(data: &Path) -> Vec<Finding> {
    let install = |package: &str| format!("{}apt-get install -y {package}", sudo());
    vec![
        program("C compiler", "cc", install("build-essential")),
        program("C++ compiler", "c++", install("build-essential")),
        program("cmake", "cmake", install("cmake")),
        libclang(install("libclang-dev")),
        wasm_target(),
        disk_space(data),
        writable(data),
        descriptors(),
    ]
}

fn sudo() -> &'static str {
    if rustix::process::geteuid().is_root() { "" } else { "sudo " }
}

impl Need {
    fn met(self, found: String) -> Finding {
        Finding { name: self.name, why: self.why, ok: true, found, remedy: None }
    }

    fn unmet(self, found: String) -> Finding {
        Finding { name: self.name, why: self.why, ok: false, found, remedy: Some(self.remedy) }
    }
}

fn program(name: &'static str, command: &str, remedy: String) -> Finding {
    let need = Need { name, why: "building RocksDB", remedy };
    match first_line(Command::new(command).arg("--version")) {
        Some(version) => need.met(version),
        None => need.unmet(format!("no command {command} that runs")),
    }
}

/// The first line that a command prints, if it ends well.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

fn libclang(remedy: String) -> Finding {
    let need = Need { name: "libclang", why: "building RocksDB's bindings", remedy };
    let folders = library_folders();
    match folders.iter().find_map(|folder| libclang_in(folder)) {
        Some(file) => need.met(file.display().to_string()),
        None => need.unmet("no libclang.so in the system's library folders or LIBCLANG_PATH".to_owned()),
    }
}

/// Where bindgen looks for libclang.
fn library_folders() -> Vec<PathBuf> {
    let named = ["LIBCLANG_PATH", "LD_LIBRARY_PATH"].into_iter().filter_map(std::env::var_os);
    let mut folders: Vec<PathBuf> = named.flat_map(|paths: OsString| std::env::split_paths(&paths).collect::<Vec<_>>()).collect();
    let llvm = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_llvm = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm"));
    folders.extend(llvm.filter(is_llvm).map(|path| path.join("lib")));
    let system = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    folders.extend(system.map(PathBuf::from));
    folders
}

fn libclang_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.file_name().is_some_and(|name| is_libclang(&name.to_string_lossy())))
}

/// `libclang.so`, `libclang-14.so`, `libclang.so.1`, `libclang-14.so.1`; not `libclang-cpp.so`.
fn is_libclang(name: &str) -> bool {
    let version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.strip_prefix("libclang")
        .and_then(|rest| rest.split_once(".so"))
        .is_some_and(|(major, minor)| version(minor) && (major.is_empty() || major.strip_prefix('-').is_some_and(version)))
}

fn wasm_target() -> Finding {
    let need = Need { name: "wasm target", why: "building tasks in Rust", remedy: "rustup target add wasm32-wasip2".to_owned() };
    let folder = first_line(Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip2"]));
    match folder {
        Some(folder) if Path::new(&folder).is_dir() => need.met(folder),
        Some(_) => need.unmet("rustc without the target wasm32-wasip2".to_owned()),
        None => need.unmet("no command rustc that runs; https://rustup.rs has it".to_owned()),
    }
}

/// The folder itself, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    whole.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

fn disk_space(data: &Path) -> Finding {
    let folder = existing(data);
    let remedy =
        format!("free {} on the disk of {}, or name a folder on another one with --data", show_size(FREE_BYTES_MIN), folder.display());
    let need = Need { name: "disk space", why: "state and checkpoints", remedy };
    match rustix::fs::statvfs(&folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let found = format!("{} free at {}", show_size(free / MIB * MIB), folder.display());
            if free >= FREE_BYTES_MIN { need.met(found) } else { need.unmet(found) }
        }
        Err(error) => need.unmet(format!("{}: {error}", folder.display())),
    }
}

fn writable(data: &Path) -> Finding {
    let folder = existing(data);
    let remedy = format!("{}chown $(id -u) {:?}, or name another folder with --data", sudo(), folder);
    let need = Need { name: "writable folder", why: "state and checkpoints", remedy };
    match rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        Ok(()) => need.met(folder.display().to_string()),
        Err(error) => need.unmet(format!("{}: {error}", folder.display())),
    }
}

fn descriptors() -> Finding {
    let remedy = format!("ulimit -Hn {DESCRIPTORS_MIN}, as root, or LimitNOFILE={DESCRIPTORS_MIN} in the service's unit");
    let need = Need { name: "file descriptors", why: "one store for each task", remedy };
    // Only the hard limit counts: `gregor run` raises its own soft limit to it.
    match rustix::process::getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < DESCRIPTORS_MIN => need.unmet(format!("at most {limit}")),
        Some(limit) => need.met(format!("at most {limit}")),
        None => need.met("no limit".to_owned()),
    }
}

fn text(findings: &[Finding]) -> String {
    let mut rows = vec![["", "NEED", "FOR", "FOUND"].map(str::to_owned).to_vec()];
    for finding in findings {
        let mark = if finding.ok { "ok" } else { "missing" };
        rows.push(vec![mark.to_owned(), finding.name.to_owned(), finding.why.to_owned(), output::harmless(&finding.found)]);
    }
    let mut text = output::table(&rows);
    for finding in findings {
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("\n{}: {remedy}", finding.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_from_its_neighbours() {
        for name in ["libclang.so", "libclang-14.so", "libclang.so.1", "libclang-14.so.1", "libclang.so.14.0.6"] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang.a", "libclangAST.so", "libc.so", "libclang_rt.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn what_is_missing_comes_with_its_command_and_what_is_there_without() {
        let need = || Need { name: "cmake", why: "building RocksDB", remedy: "apt-get install -y cmake".to_owned() };
        let shown = text(&[need().met("cmake 3".to_owned()), need().unmet("no command cmake".to_owned())]);
        assert_eq!(shown.matches("apt-get install -y cmake").count(), 1, "{shown}");
        assert!(shown.contains("ok       cmake") && shown.contains("missing  cmake"), "{shown}");
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        let found = writable(&folder.path().join("a/b"));
        assert!(found.ok, "{found:?}");
    }
}
