//! Compiled components in the data folder: an earlier start's are loaded, altered, cut and foreign ones never, and whatever becomes of them the
//! job's result is the same. Which way a component's code came is read from the log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::harness::host::Ended;
use crate::harness::lab::Lab;
use crate::harness::{clock, corpus, jobs, output, seed};

/// Shows for each component where its code comes from, and why not from the folder.
const LOG: [&str; 2] = ["--log", "warn,gregor_guest=debug"];

/// A job of two components.
struct Fixture {
    lab: Lab,
    text: Vec<u8>,
}

impl Fixture {
    fn new(test: &str) -> Self {
        let mut random = seed::random(test);
        let lab = Lab::with_job(&jobs::word_count("1 s"));
        let text = corpus::plain(&mut random, 20_000, 300);
        lab.write("in/a.txt", &text);
        Self { lab, text }
    }

    /// Runs the job from its beginning, demands the right result, and answers how many components were compiled and how many loaded.
    #[track_caller]
    fn run(&self) -> (Ended, (usize, usize)) {
        self.lab.forget();
        let ended = self.lab.run(&LOG).code(0);
        self.right();
        let ways = ways(&ended.stderr);
        (ended, ways)
    }

    #[track_caller]
    fn right(&self) {
        output::complete(&self.lab.path("out"));
        corpus::same(&output::counts(&self.lab.path("out")), &corpus::count([self.text.as_slice()]));
    }

    /// The compiled components.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.lab.path("data/components")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

/// How many components were compiled, and how many loaded.
fn ways(stderr: &str) -> (usize, usize) {
    let lines = |way: &str| stderr.lines().filter(|line| line.contains(&format!("origin={way}"))).count();
    (lines("Compiled"), lines("Loaded"))
}

#[test]
fn the_second_start_loads_what_the_first_compiled() {
    let fixture = Fixture::new("the_second_start_loads_what_the_first_compiled");
    let (first, found) = fixture.run();
    assert_eq!(found, (2, 0));
    assert_eq!(fixture.files().len(), 2);
    let (second, found) = fixture.run();
    assert_eq!(found, (0, 2));
    println!("a start that compiles takes {:?}, one that loads {:?}", first.elapsed, second.elapsed);
    // Of a job that is finished too.
    let again = fixture.lab.run(&LOG).code(0).unwarned(&[]);
    assert_eq!(ways(&again.stderr), (0, 2));
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.lab.path("data/components")), 0o700);
    assert!(fixture.files().iter().all(|file| mode(file) == 0o600), "{:?}", fixture.files());
}

#[test]
fn looking_and_inspecting_leave_the_folder_as_it_is() {
    let fixture = Fixture::new("looking_and_inspecting_leave_the_folder_as_it_is");
    fixture.run();
    let component = crate::harness::plugins().join("rust/split.wasm");
    let inspected = fixture.lab.gregor(&["inspect", component.to_str().unwrap(), LOG[0], LOG[1]]).code(0);
    assert_eq!(ways(&inspected.stderr), (1, 0));
    assert_eq!(fixture.files().len(), 2);
    // A job that is refused makes no data folder, and so no folder for components.
    let refused = Lab::with_job(&jobs::word_count("1 s").replace("lines = ", "other = "));
    refused.run(&LOG).code(2);
    assert!(!refused.path("data").exists());
}

#[test]
fn altered_cut_and_swapped_files_are_never_loaded() {
    let fixture = Fixture::new("altered_cut_and_swapped_files_are_never_loaded");
    fixture.run();
    let whole: Vec<(PathBuf, Vec<u8>)> = fixture.files().into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    type Harm = fn(&[u8]) -> Vec<u8>;
    let harms: [(&str, &str, Harm); 7] = [
        ("each 997th byte flipped", "its bytes do not match their digest", |bytes| {
            bytes.iter().enumerate().map(|(at, byte)| if at % 997 == 996 { !byte } else { *byte }).collect()
        }),
        ("the last byte flipped", "its bytes do not match their digest", |bytes| {
            [&bytes[..bytes.len() - 1], &[!bytes[bytes.len() - 1]]].concat()
        }),
        ("cut in the middle", "its bytes do not match their digest", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("cut in its header", "it is cut short", |bytes| bytes[..30].to_vec()),
        ("emptied", "it is cut short", |_| Vec::new()),
        ("of another version", "it is not of the version that is known here", |bytes| [&bytes[..7], &[2], &bytes[8..]].concat()),
        ("without its header", "it is not of the version that is known here", |bytes| bytes[104..].to_vec()),
    ];
    for (harm, reason, harmed) in harms {
        for (file, bytes) in &whole {
            fs::write(file, harmed(bytes)).unwrap();
        }
        let (ended, ways) = fixture.run();
        assert_eq!(ways, (2, 0), "{harm}");
        assert_eq!(ended.stderr.matches(reason).count(), 2, "{harm}:\n{}", ended.stderr);
        ended.unwarned(&[]);
        assert_eq!(fixture.run().1, (0, 2), "after they were {harm}, they were replaced");
    }
    // Each under the name of the other.
    for ((file, _), (_, bytes)) in whole.iter().zip(whole.iter().rev()) {
        fs::write(file, bytes).unwrap();
    }
    let (ended, ways) = fixture.run();
    assert_eq!(ways, (2, 0));
    ended.says("it was made of another component").unwarned(&[]);
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used_and_said_once() {
    let fixture = Fixture::new("a_folder_that_others_may_write_to_is_not_used_and_said_once");
    fixture.run();
    let mode = |mode| fs::set_permissions(fixture.lab.path("data/components"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    let (ended, ways) = fixture.run();
    assert_eq!(ways, (2, 0));
    assert_eq!(ended.stderr.matches("others may write to it").count(), 1, "{}", ended.stderr);
    mode(0o755);
    let (ended, ways) = fixture.run();
    assert_eq!(ways, (0, 2), "that others may read it does no harm");
    ended.unwarned(&[]);
}

#[test]
fn a_file_that_is_in_the_way_or_too_large_for_the_disk_keeps_no_job_from_running() {
    let fixture = Fixture::new("a_file_that_is_in_the_way_or_too_large_for_the_disk_keeps_no_job_from_running");
    // Every file of the process may have 128 KiB; a write beyond fails, as on a full disk. Compiled components are larger, this job's files not.
    let ended =
        fixture.lab.shell("trap '' XFSZ; ulimit -f 256; exec \"$GREGOR\" run job.toml --data data --log warn,gregor_guest=debug").code(0);
    fixture.right();
    assert_eq!(ended.stderr.matches("the compiled component is not kept").count(), 2, "{}", ended.stderr);
    ended.unwarned(&["File too large"]);
    assert_eq!(fixture.files(), Vec::<PathBuf>::new(), "nothing unfinished is left");
    assert_eq!(fixture.run().1, (2, 0));
    for file in fixture.files() {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
    }
    let (ended, ways) = fixture.run();
    assert_eq!(ways, (2, 0));
    ended.says("it is no regular file").unwarned(&["Is a directory"]);
}

#[test]
fn starts_at_the_same_time_do_each_other_no_harm() {
    let fixture = Fixture::new("starts_at_the_same_time_do_each_other_no_harm");
    for round in 0..3 {
        fixture.lab.forget();
        // The folder as a first start finds it, then as a later one does.
        let mut hosts: Vec<_> = (0..4).map(|_| fixture.lab.start(&LOG)).collect();
        clock::wait("all of them to be over", || hosts.iter_mut().all(crate::harness::host::Host::is_over).then_some(()));
        let ended: Vec<Ended> = hosts.into_iter().map(|host| host.end().calm()).collect();
        assert!(ended.iter().any(|ended| ended.code == Some(0)), "round {round}: nobody ran the job");
        for ended in ended {
            assert!(matches!(ended.code, Some(0 | 2)), "round {round}: {:?}\n{}", ended.code, ended.stderr);
            assert!(!ended.stderr.contains("compiled anew"), "round {round}: an unfinished file was seen\n{}", ended.stderr);
        }
        fixture.right();
        assert_eq!(fixture.files().len(), 2);
    }
    assert_eq!(fixture.run().1, (0, 2));
}
