//! Queues and the threads that fill them: whose turn it is, and what becomes of a source that fails.

use std::sync::{OnceLock, Weak};

use gregor_model::columns::Record;
use gregor_model::digest::Digest;

use super::*;

/// What sources did, in order.
type Log = Arc<Mutex<Vec<&'static str>>>;

/// A source of large batches, whose answers are decided by how often it was asked.
struct Counted<F> {
    asked: u32,
    answer: F,
}

impl<F: FnMut(u32) -> Result<Fetched, RunError> + Send> Feed for Counted<F> {
    fn fetch(&mut self) -> Result<Fetched, RunError> {
        self.asked += 1;
        (self.answer)(self.asked)
    }

    fn extend(&mut self, _: More) {}
}

fn queue(index: usize, answer: impl FnMut(u32) -> Result<Fetched, RunError> + Send + 'static) -> Arc<InputQueue> {
    Arc::new(InputQueue::new((index, index), Box::new(Counted { asked: 0, answer })))
}

fn position() -> Position {
    Position::File { plan: Digest([0; 32]), split: 0, offset: 0 }
}

/// A batch of which a queue holds eight.
fn batch() -> Fetched {
    let mut columns = Columns::default();
    let value = vec![b'x'; QUEUE_BYTES_MAX / 8];
    columns.push(Record { offset: 0, timestamp: 0, key: None, value: Some(&value) }).unwrap();
    Fetched::Item(Item::Batch(Batch { columns: Arc::new(columns), after: position(), bytes: 0 }))
}

/// Lets one thread serve these queues until it is told that this was all.
fn serve(queues: &[Arc<InputQueue>]) -> Vec<Event> {
    let (events, heard) = crossbeam_channel::bounded(8);
    let inputs = Inputs::new(queues.to_vec());
    queues.iter().for_each(|queue| inputs.feed(queue));
    inputs.close();
    inputs.serve(&Ready::new(queues.len()), &events, &Shutdown::default());
    drop(events);
    heard.iter().collect()
}

#[test]
fn a_source_whose_task_keeps_up_lets_others_have_their_turn() {
    let log = Log::default();
    let taken: Arc<OnceLock<Weak<InputQueue>>> = Arc::default();
    let (greedy_log, greedy_taken) = (Arc::clone(&log), Arc::clone(&taken));
    let greedy = queue(0, move |asked| {
        // The task takes whatever is there at once.
        greedy_taken.get().and_then(Weak::upgrade).unwrap().lock().items.clear();
        greedy_taken.get().and_then(Weak::upgrade).unwrap().lock().bytes = 0;
        greedy_log.lock().unwrap().push("greedy");
        Ok(if asked < 1_000 { batch() } else { Fetched::Item(Item::End(position())) })
    });
    taken.set(Arc::downgrade(&greedy)).unwrap();
    let modest_log = Arc::clone(&log);
    let modest = queue(1, move |_| {
        modest_log.lock().unwrap().push("modest");
        Ok(Fetched::Item(Item::End(position())))
    });
    assert_eq!(serve(&[Arc::clone(&greedy), modest]).len(), 0);
    let log = log.lock().unwrap();
    let turn = log.iter().position(|&who| who == "modest").expect("the other one had its turn");
    assert_eq!(turn, 8, "as much as a queue holds, then the next: {log:?}");
    assert_eq!(greedy.lock().feeding, Feeding::Active, "it stands in the line again");
}

#[test]
fn a_source_that_finds_nothing_for_long_lets_others_have_their_turn_and_hears_of_the_end() {
    let endless = queue(0, |asked| {
        assert_eq!(asked, 1, "the other one comes next");
        Ok(Fetched::Later)
    });
    let other = queue(1, |_| Ok(Fetched::Item(Item::End(position()))));
    assert_eq!(serve(&[endless, Arc::clone(&other)]).len(), 0);
    assert_eq!(other.lock().items.len(), 1);
}

#[test]
fn a_source_that_fails_for_a_moment_is_asked_again() {
    let failing = queue(0, |asked| match asked {
        1 => Err(RunError::Failed("the disk is slow".to_owned())),
        _ => Ok(Fetched::Item(Item::End(position()))),
    });
    assert_eq!(serve(&[Arc::clone(&failing)]).len(), 0);
    assert!(matches!(failing.lock().items.front(), Some(Item::End(_))));
}

#[test]
fn a_source_that_goes_on_failing_gives_up_and_one_that_is_refused_ends_the_job() {
    let events = serve(&[queue(0, |_| Err(RunError::Failed("the disk is gone".to_owned())))]);
    assert!(matches!(&events[..], [Event::GaveUp(RunError::Failed(reason))] if reason.contains("the disk is gone")));
    let events = serve(&[queue(0, |asked| {
        assert_eq!(asked, 1, "what was refused is not tried again");
        Err(RunError::Refused("the file changed".to_owned()))
    })]);
    assert!(matches!(&events[..], [Event::Failed(RunError::Refused(_))]));
}

#[test]
fn a_source_that_fails_each_time_it_has_come_back_to_where_it_was_gives_up_too() {
    let failing = queue(0, |asked| if asked % 2 == 1 { Ok(Fetched::Later) } else { Err(RunError::Failed("the disk is gone".to_owned())) });
    let (ready, shutdown) = (Ready::new(1), Shutdown::default());
    let failed = (0..20).find_map(|_| fill(&failing, &ready, &shutdown).err()).expect("it is tried for ever");
    assert!(matches!(&failed, RunError::Failed(reason) if reason.contains("the disk is gone")), "{failed}");
}
