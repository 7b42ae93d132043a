//! SIGINT and SIGTERM: the first asks the job for a last checkpoint, the second ends it at once. Refuses to end the process by itself once there is
//! something to lose: then the job ends, and `main` returns its exit code. Before, while components are compiled and the coordinator is looked for, a
//! signal ends it at once.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::Sender;
use gregor_runtime::setup::Command;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::exit::Exit;
use crate::output;

/// Whether there is something that a signal must not break off.
#[derive(Debug, Default)]
pub(crate) struct Begun(AtomicBool);

impl Begun {
    /// From now on a signal is a command.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Calls `act` while signals end the process and, once `act` has said that it has begun, are turned into commands; also says how the process ends
/// if the job stops for the first of them.
///
/// # Errors
/// The system does not let us listen.
pub(crate) fn listening<T>(commands: Sender<Command>, act: impl FnOnce(&Begun) -> T) -> io::Result<(T, Option<Exit>)> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let signals = Signals::new(&runtime)?;
    let (done, until) = oneshot::channel();
    let (first, begun) = (OnceLock::new(), Begun::default());
    let acted = thread::scope(|scope| {
        let listen = || runtime.block_on(signals.listen(until, &begun, (&commands, &first)));
        thread::Builder::new().name("signals".to_owned()).spawn_scoped(scope, listen)?;
        let acted = act(&begun);
        drop(done);
        Ok::<_, io::Error>(acted)
    })?;
    Ok((acted, first.into_inner()))
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new(runtime: &Runtime) -> io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Passes signals on until `until`'s other end is dropped.
    async fn listen(mut self, mut until: oneshot::Receiver<()>, begun: &Begun, (commands, first): (&Sender<Command>, &OnceLock<Exit>)) {
        loop {
            let exit = tokio::select! {
                _ = &mut until => return,
                Some(()) = self.interrupt.recv() => Exit::Interrupted,
                Some(()) = self.terminate.recv() => Exit::Terminated,
                else => return,
            };
            if !begun.0.load(Ordering::SeqCst) {
                output::tell("stopped before the job began");
                end(exit);
            }
            // The channel holds both commands there are; what doesn't fit was said already.
            if first.set(exit).is_ok() {
                output::tell("stopping after a last checkpoint; a second signal ends at once");
                let _said = commands.try_send(Command::Stop);
            } else {
                let _said = commands.try_send(Command::StopNow);
            }
        }
    }
}

/// Ends the process.
#[expect(
    clippy::disallowed_methods,
    reason = "compiling takes seconds, and can't be broken off; no job is claimed by then, a lock goes with its process, and what is written is complete or made anew"
)]
fn end(exit: Exit) -> ! {
    std::process::exit(i32::from(exit.code()))
}
