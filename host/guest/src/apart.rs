//! Compiling in a process of its own. What a compiler takes for a component follows from nothing that is cheap to see: a few kilobytes can be made
//! that take it hours, or all memory, and no thread of wasmtime's can be stopped. So this program starts itself once more with limits that the
//! system enforces, hands it the component, takes the code, and kills it if it is not done in time. Refuses to load what that process did not say to
//! be whole.
//!
//! | direction | what |
//! |---|---|
//! | arguments | [`COMPILE_COMMAND`], then the engine's options and the limits, in decimal |
//! | stdin | the component, to its end |
//! | stdout | a byte that says which, then the code or the reason of a refusal; believed if the process ends with 0 |
//! | stderr | last words of a process that dies |

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use gregor_model::limits::{AdmissionLimits, COMPILE_STACK_BYTES, COMPILED_BYTES_MAX, COMPONENT_BYTES_MAX, WALL_TIMES_CPU};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use crate::engine::{Engine, EngineOptions, PrecompileError, precompile};
use crate::error::Refusal;
use crate::growth::bytes_text;
use crate::stdio::cut;

/// The first argument of the process that compiles.
pub const COMPILE_COMMAND: &str = "compile-component";
/// Code follows.
const CODE: u8 = 1;
/// The reason of a refusal follows.
const REFUSED: u8 = 0;
/// Bytes of what a process that died said first, at most.
const WORDS_BYTES_MAX: u64 = 4096;
/// What a process of Rust says when it gets no memory, before it aborts.
const OUT_OF_MEMORY: &str = "memory allocation of ";
/// What it says when its stack is used up: readers of types call themselves for what is nested.
const OUT_OF_STACK: &str = "has overflowed its stack";
/// Threads that compile one component, at most: each takes memory that counts towards the limit.
const THREADS_MAX: usize = 8;

/// Numbers that the process which compiles gets as arguments, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileOrder {
    options: EngineOptions,
    cpu_seconds: u64,
    memory_bytes: u64,
}

impl CompileOrder {
    fn of(engine: &Engine) -> Self {
        let AdmissionLimits { compile_time, compile_memory_bytes, .. } = engine.how().limits;
        Self { options: *engine.options(), cpu_seconds: compile_time.as_secs().max(1), memory_bytes: compile_memory_bytes }
    }

    fn arguments(&self) -> [String; 4] {
        let Self { options: EngineOptions { instances_max, memory_bytes_max }, cpu_seconds, memory_bytes } = self;
        [instances_max.to_string(), memory_bytes_max.to_string(), cpu_seconds.to_string(), memory_bytes.to_string()]
    }

    /// Reads the arguments that follow [`COMPILE_COMMAND`]; none if they are not those.
    #[must_use]
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [instances_max, memory_bytes_max, cpu_seconds, memory_bytes] = arguments else { return None };
        Some(Self {
            options: EngineOptions { instances_max: instances_max.parse().ok()?, memory_bytes_max: memory_bytes_max.parse().ok()? },
            cpu_seconds: cpu_seconds.parse().ok()?,
            memory_bytes: memory_bytes.parse().ok()?,
        })
    }

    /// Puts this process under the limits. It dies with the thread that started it.
    fn obey(&self) -> io::Result<()> {
        // Where this process is held to less already, that stays.
        let between = |resource, soft: u64, hard: u64| {
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            setrlimit(resource, Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) })
        };
        // Had that thread died before this is said: then stdin ends, and with it this process.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        between(Resource::Core, 0, 0)?;
        // Private memory that can be written, which is what compiling takes; address space alone costs nothing.
        between(Resource::Data, self.memory_bytes, self.memory_bytes)?;
        // At the soft limit a signal comes that says why, at the hard one SIGKILL.
        between(Resource::Cpu, self.cpu_seconds, self.cpu_seconds.saturating_add(1))?;
        Ok(())
    }
}

/// What the process does that [`crate::Compiling::Apart`] starts: reads a component from stdin and writes its code, or why there is none, to stdout.
///
/// # Errors
/// The system does not let it: no limits, no input, no output.
pub fn compile_apart(order: &CompileOrder) -> io::Result<()> {
    order.obey()?;
    let mut component = Vec::new();
    io::stdin().lock().take(COMPONENT_BYTES_MAX).read_to_end(&mut component)?;
    let (tag, answer) = match on_stack(COMPILE_STACK_BYTES, || precompile(&order.options, &component))? {
        Ok(code) => (CODE, code),
        Err(PrecompileError::Refused(Refusal::Invalid(reason))) => (REFUSED, reason.into_bytes()),
        Err(PrecompileError::Refused(refusal)) => (REFUSED, refusal.to_string().into_bytes()),
        Err(PrecompileError::Engine(error)) => return Err(io::Error::other(error)),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[tag])?;
    stdout.write_all(&answer)?;
    stdout.flush()
}

/// Acts on a thread whose stack has so many bytes: what reads nested types calls itself for each.
///
/// # Errors
/// The system gives no thread, or it panicked.
pub(crate) fn on_stack<T: Send>(bytes: usize, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let acting = thread::Builder::new().name("components".to_owned()).stack_size(bytes).spawn_scoped(scope, act)?;
        acting.join().map_err(|_| io::Error::other("the thread that reads a component panicked"))
    })
}

/// Lets a process of this program compile.
///
/// # Errors
/// The component is not valid, or takes more than it may; the system has no room for a process.
pub(crate) fn compile(engine: &Engine, program: &Path, component: &[u8]) -> Result<wasmtime::component::Component, Refusal> {
    let order = CompileOrder::of(engine);
    let no_room = |error: io::Error| Refusal::NoRoom(format!("a process that compiles it can't be started: {error}"));
    let mut command = Command::new(program);
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    command.arg(COMPILE_COMMAND).args(order.arguments()).env("RAYON_NUM_THREADS", threads.to_string());
    // Why it died stands in its first words; a trace would only hide that.
    command.env_remove("RUST_BACKTRACE");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(no_room)?;
    let (ended, answer) = converse(child, component, &engine.how().limits).map_err(no_room)?;
    let Ended::Alone(status) = ended else {
        let limit = engine.how().limits.compile_time.saturating_mul(WALL_TIMES_CPU);
        return Err(Refusal::NoRoom(format!("it was not compiled after {limit:?} by the clock; the machine is busy or was stopped")));
    };
    if !status.success() {
        return Err(died(status, &String::from_utf8_lossy(&answer.words), &engine.how().limits));
    }
    match answer.bytes.split_first() {
        Some((&CODE, code)) => crate::cache::load(engine, code).map_err(Refusal::Invalid),
        Some((&REFUSED, reason)) => Err(Refusal::Invalid(String::from_utf8_lossy(reason).into_owned())),
        Some(_) | None => Err(Refusal::Compile("the process that compiles it gave no answer".to_owned())),
    }
}

/// How the process ended.
enum Ended {
    /// By itself, or by the system.
    Alone(ExitStatus),
    /// It was killed, because its time by the clock was over.
    Killed,
}

/// What it said.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    words: Vec<u8>,
}

/// Hands the component over and takes the answer, until the process ends or is killed.
fn converse(mut child: Child, component: &[u8], limits: &AdmissionLimits) -> io::Result<(Ended, Answer)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (done, when) = sync_channel::<()>(1);
    thread::scope(|scope| {
        let writer = move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(component));
        let listener = move || listen(stdout, stderr, &done);
        let begun = thread::Builder::new().name("to-compiler".to_owned()).spawn_scoped(scope, writer).and_then(|writer| {
            let listener = thread::Builder::new().name("from-compiler".to_owned()).spawn_scoped(scope, listener)?;
            Ok((writer, listener))
        });
        // Pipes end with the process, and the threads with them: whatever happens it must be gone before they are waited for.
        let over = begun.is_err() || when.recv_timeout(limits.compile_time.saturating_mul(WALL_TIMES_CPU)).is_err();
        if over {
            child.kill()?;
        }
        let status = child.wait()?;
        let (writer, listener) = begun?;
        // A process that dies does not read to the end; that it died is told by its status.
        drop(writer.join());
        let answer = listener.join().unwrap_or_else(|_| Ok(Answer::default()))?;
        Ok((if over { Ended::Killed } else { Ended::Alone(status) }, answer))
    })
}

/// Takes what the process says until it closes its ends, and tells when it has. (Sent in vain if nobody waits any more.)
fn listen(stdout: Option<impl Read>, stderr: Option<impl Read + Send>, done: &SyncSender<()>) -> io::Result<Answer> {
    let answer = thread::scope(|scope| {
        // Both at once: a process that waits for one of its pipes to be read closes neither.
        let words = thread::Builder::new().name("compiler-words".to_owned()).spawn_scoped(scope, || words(stderr))?;
        let mut bytes = Vec::new();
        stdout.map_or(Ok(0), |stdout| stdout.take(COMPILED_BYTES_MAX).read_to_end(&mut bytes))?;
        let words = words.join().unwrap_or_else(|_| Ok(Vec::new()))?;
        Ok(Answer { bytes, words })
    });
    let _unheard = done.send(());
    answer
}

/// The first words of the process; the rest is read, too, so that nothing holds it up, and dropped.
fn words(stderr: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    let Some(mut stderr) = stderr else { return Ok(words) };
    stderr.by_ref().take(WORDS_BYTES_MAX).read_to_end(&mut words)?;
    io::copy(&mut stderr, &mut io::sink())?;
    Ok(words)
}

/// Why a process that compiled died.
fn died(status: ExitStatus, words: &str, limits: &AdmissionLimits) -> Refusal {
    let too_much = "it is too large or too intricate; let its toolchain optimise it, or divide its largest functions";
    let signal = status.signal().and_then(Signal::from_named_raw);
    Refusal::Compile(match signal {
        Some(Signal::XCPU) => {
            format!("the {:?} of CPU time that compiling may take are spent (compile-time): {too_much}", limits.compile_time)
        }
        _ if words.contains(OUT_OF_MEMORY) => {
            let limit = bytes_text(limits.compile_memory_bytes);
            format!("the {limit} of memory that compiling may take are used up (compile-memory): {too_much}")
        }
        _ if words.contains(OUT_OF_STACK) => "its types or components are nested too deep for the stack that compiling may take".to_owned(),
        _ => format!("the process that compiles it died ({status}): {}", cut(words.trim(), 1024)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: AdmissionLimits =
        AdmissionLimits { compile_time: Duration::from_secs(7), compile_memory_bytes: 3 << 30, describe_time: Duration::from_secs(1) };

    #[test]
    fn an_order_survives_the_command_line() {
        let options = EngineOptions { instances_max: 3, memory_bytes_max: 1 << 32 };
        let order = CompileOrder { options, cpu_seconds: 7, memory_bytes: u64::MAX };
        assert_eq!(CompileOrder::parse(&order.arguments()), Some(order));
        let broken = |at: usize, text: &str| {
            let mut arguments = order.arguments();
            text.clone_into(&mut arguments[at]);
            CompileOrder::parse(&arguments)
        };
        assert_eq!([broken(0, "-1"), broken(1, ""), broken(2, "7s"), broken(3, "18446744073709551616")], [None; 4]);
        assert_eq!(CompileOrder::parse(&order.arguments()[1..]), None);
    }

    #[test]
    fn a_compiler_that_died_is_explained_by_its_limit() {
        let said = |status, words| died(ExitStatus::from_raw(status), words, &LIMITS).to_string();
        assert!(said(24, "").contains("the 7s of CPU time that compiling may take are spent (compile-time)"), "{}", said(24, ""));
        let aborted = said(6, "memory allocation of 4096 bytes failed\n");
        assert!(aborted.contains("the 3 GiB of memory that compiling may take are used up (compile-memory)"), "{aborted}");
        let deep = said(6, "thread 'main' (7) has overflowed its stack\nfatal runtime error: stack overflow, aborting\n");
        assert!(deep.contains("nested too deep for the stack that compiling may take"), "{deep}");
        let crashed = said(11, "some words\n");
        assert!(crashed.contains("died (signal: 11") && crashed.ends_with(": some words"), "{crashed}");
    }

    #[test]
    fn a_program_that_is_none_of_ours_is_an_error_and_no_component() {
        let compile = |program: &str| {
            let admitting = crate::Admitting { compiling: crate::Compiling::Apart(program.into()), ..Default::default() };
            let engine = Engine::admitting(&EngineOptions { instances_max: 1, memory_bytes_max: 1 << 20 }, admitting).unwrap();
            compile(&engine, Path::new(program), b"\0asm").map(drop).unwrap_err().to_string()
        };
        assert!(compile("/nonexistent/gregor").contains("a process that compiles it can't be started"));
        assert!(compile("/bin/true").contains("gave no answer"));
        assert!(compile("/bin/false").contains("died (exit status: 1)"));
        assert!(compile("/bin/echo").contains("gave no answer"), "what it echoes begins with neither tag");
    }
}
