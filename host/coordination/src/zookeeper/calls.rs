//! The loop of the session's thread: one call after the other, each with its reply, and between them a look after the session. Refuses to go on
//! with a call that nobody waits for any more: its outcome is then what the next read says.

use std::future::Future;

use gregor_model::manifest::ObjectRef;
use gregor_model::names::{Boot, CheckpointNumber, HostId, SavepointName, Term};
use gregor_model::register::{Register, SavepointRecord, StreamRecord};
use gregor_model::start::Begin;
use tokio::sync::{mpsc, oneshot};

use super::decide::Intent;
use super::session::Session;
use crate::coordinator::CommitPermit;
use crate::error::CoordinationError;

/// Where the outcome of a call goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, CoordinationError>>;

/// A call to the session.
pub(super) enum Call {
    Read(Reply<Option<Register>>),
    Begin(Begin, Reply<Register>),
    SetSpec(ObjectRef, Reply<()>),
    Create { number: CheckpointNumber, created_at_ms: u64, keep: u32, reply: Reply<CommitPermit> },
    Confirm { number: CheckpointNumber, claim: (Term, Boot), manifest: ObjectRef, reply: Reply<()> },
    Abort(CheckpointNumber, Reply<()>),
    GoBack { number: CheckpointNumber, claim: (Term, Boot), manifest: ObjectRef, streams: Vec<StreamRecord>, reply: Reply<Register> },
    SavePoint { name: SavepointName, number: CheckpointNumber, created_at_ms: u64, reply: Reply<SavepointRecord> },
    DeleteSavepoint(SavepointName, Reply<()>),
    MayShow(Reply<()>),
    Cluster(Reply<Option<HostId>>),
    Close(Reply<()>),
}

/// Carries out calls until nobody can make any, or until the session is to be closed.
pub(super) async fn serve(session: &mut Session, calls: &mut mpsc::Receiver<Call>) {
    loop {
        let call = tokio::select! {
            biased;
            call = calls.recv() => call,
            () = session.idle() => continue,
        };
        match call {
            Some(Call::Close(reply)) => {
                session.close().await;
                // Whoever asked may have gone: the session is closed all the same.
                drop(reply.send(Ok(())));
                break;
            }
            Some(call) => carry_out(session, call).await,
            None => break,
        }
    }
    session.close().await;
}

async fn carry_out(session: &mut Session, call: Call) {
    match call {
        Call::Read(reply) => answer(reply, session.read()).await,
        Call::Begin(begin, reply) => {
            answer(reply, session.begin(begin)).await;
            session.withdraw().await;
        }
        Call::SetSpec(spec, reply) => answer(reply, done(session, None, Intent::SetSpec(spec))).await,
        Call::Create { number, created_at_ms, keep, reply } => {
            answer(reply, create(session, Intent::Create { number, created_at_ms, keep }, number)).await;
        }
        Call::Confirm { number, claim, manifest, reply } => {
            answer(reply, done(session, Some(claim), Intent::Confirm { number, manifest })).await;
        }
        Call::Abort(number, reply) => answer(reply, done(session, None, Intent::Abort(number))).await,
        Call::GoBack { number, claim, manifest, streams, reply } => {
            let intent = Intent::GoBack { number, manifest, streams };
            answer(reply, session.change(Some(claim), &intent)).await;
        }
        Call::SavePoint { name, number, created_at_ms, reply } => answer(reply, save_point(session, (name, number, created_at_ms))).await,
        Call::DeleteSavepoint(name, reply) => answer(reply, done(session, None, Intent::DeleteSavepoint(name))).await,
        Call::Cluster(reply) => answer(reply, session.cluster()).await,
        Call::MayShow(reply) => answer(reply, session.may_show()).await,
        Call::Close(reply) => drop(reply.send(Ok(()))),
    }
}

/// Carries out a call for as long as somebody waits for it.
async fn answer<T>(mut reply: Reply<T>, work: impl Future<Output = Result<T, CoordinationError>>) {
    tokio::select! {
        biased;
        () = reply.closed() => {}
        // Whoever asked may go at this very moment.
        outcome = work => drop(reply.send(outcome)),
    }
}

async fn done(session: &mut Session, permit: Option<(Term, Boot)>, intent: Intent) -> Result<(), CoordinationError> {
    session.change(permit, &intent).await.map(drop)
}

async fn create(session: &mut Session, intent: Intent, number: CheckpointNumber) -> Result<CommitPermit, CoordinationError> {
    let claim = session.claim()?;
    session.change(None, &intent).await?;
    Ok(CommitPermit::under(number, claim))
}

async fn save_point(
    session: &mut Session,
    (name, number, created_at_ms): (SavepointName, CheckpointNumber, u64),
) -> Result<SavepointRecord, CoordinationError> {
    let intent = Intent::SavePoint { name: name.clone(), number, created_at_ms };
    let register = session.change(None, &intent).await?;
    let named = register.savepoints.into_iter().find(|savepoint| savepoint.name == name);
    let reason = || format!("savepoint {name} is not among those that were written");
    named.ok_or_else(|| CoordinationError::Poisoned { job: register.job, reason: reason() })
}
