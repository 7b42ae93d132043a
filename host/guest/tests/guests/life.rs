//! The life of an instance: made when needed, kept while it behaves, thrown away when it has grown, started again without a trace.

use std::sync::Arc;
use std::thread;

use gregor_guest::{Batch, Disposition, Instance, Lifecycle, Processor, Progress};

use crate::recorder::Recorder;
use crate::{CONTEXT, LIMITS, batch, component, instance, process};

#[test]
fn the_component_describes_itself() {
    let component = component();
    assert_eq!((component.processor(), component.lifecycle()), (Processor::Columns, Lifecycle::Exported));
    let said = component.descriptor();
    assert_eq!((said.name.as_str(), said.version.as_str()), ("hostile", "0.1.0"));
    assert_eq!((said.inputs[0].name.as_str(), said.outputs[0].name.as_str()), ("in", "out"));
    assert_eq!(said.outputs[0].schema.as_deref(), Some("bytes"));
    assert_eq!((said.stores[0].name.as_str(), said.stores[0].schema_version), ("s", 1));
    assert!(component.imports().iter().any(|import| import == "gregor:task/state@0.1.0"));
}

#[test]
fn an_instance_is_made_by_its_first_call_and_kept() {
    let mut instance = instance("identity");
    assert_eq!(instance.usage().memory_bytes, 0);
    instance.start(&CONTEXT).unwrap();
    let fresh = instance.usage();
    assert!(fresh.memory_bytes > 0 && fresh.calls == 0 && fresh.cpu_nanoseconds > 0);
    for _ in 0..100 {
        process(&mut instance, &batch(None)).unwrap();
    }
    let usage = instance.usage();
    assert_eq!((usage.calls, usage.traps, usage.recycled, usage.memory_bytes), (100, 0, 0, fresh.memory_bytes));
    assert_eq!(instance.into_services().selected.len(), 1000);
}

#[test]
fn an_instance_whose_call_does_not_count_is_replaced() {
    /// What the guest says of its calls, which it counts in memory.
    fn end(instance: &mut Instance<Recorder>) -> String {
        instance.services().emitted.clear();
        instance.on_end(0, &CONTEXT).unwrap();
        instance.services().pairs().remove(0).1
    }
    let mut instance = instance("end-emits");
    // What was rolled back is forgotten, and with it all that the same instance did before.
    for (counts, expected) in [(true, "0 1"), (false, "0 2"), (true, "0 1"), (true, "0 2"), (false, "0 3"), (false, "0 1"), (true, "0 1")] {
        assert_eq!(end(&mut instance), expected);
        if counts {
            instance.keep();
        }
    }
    instance.process(&Batch { input: 0, partition: 0, columns: &batch(None) }, &CONTEXT).unwrap();
    assert_eq!(end(&mut instance), "0 1", "a batch that does not count takes the instance with it, too");
}

#[test]
fn an_instance_that_has_grown_is_recycled_before_it_hits_its_limit() {
    let mut instance = instance("leak");
    for _ in 0..20 {
        process(&mut instance, &batch(Some(0))).unwrap();
        assert!(instance.usage().memory_bytes <= LIMITS.memory_bytes * 3 / 4);
    }
    let usage = instance.usage();
    assert_eq!(usage.traps, 0);
    assert!((3..=7).contains(&usage.recycled), "8 MiB a call pass a mark above 32 MiB every four or five calls: {usage:?}");
}

#[test]
fn rejections_name_their_record_and_keep_the_rest() {
    for (mode, action) in [("reject", Disposition::Skip), ("reject-dead-letter", Disposition::DeadLetter)] {
        let mut instance = instance(mode);
        let rejections = process(&mut instance, &batch(Some(4))).unwrap();
        let found: Vec<_> = rejections.iter().map(|found| (found.index, found.action, found.reason.as_str())).collect();
        assert_eq!(found, [(4, action, "not wanted")]);
        assert_eq!(instance.services().selected, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    }
}

#[test]
fn the_end_is_asked_for_until_it_is_done() {
    let mut instance = instance("end-emits");
    let mut on_end = || {
        let progress = instance.on_end(0, &CONTEXT).unwrap();
        instance.keep();
        progress
    };
    let answers: Vec<Progress> = (0..3).map(|_| on_end()).collect();
    assert_eq!(answers, [Progress::More, Progress::More, Progress::Done]);
    let pair = |text: &str| ("end".to_owned(), text.to_owned());
    assert_eq!(instance.services().pairs(), [pair("0 1"), pair("0 2"), pair("0 3")]);
    assert!(instance.services().emitted.iter().all(|emitted| emitted.cause.is_none() && emitted.timestamp.is_none()));
}

#[test]
fn instances_move_between_threads_and_run_beside_each_other() {
    let runs: Vec<_> = (0..4)
        .map(|_| {
            thread::Builder::new()
                .spawn(|| {
                    let mut instance = Instance::new(component(), Recorder::new("panic"), LIMITS).unwrap();
                    instance.start(&CONTEXT).unwrap();
                    instance
                })
                .unwrap()
        })
        .collect();
    for run in runs {
        let mut instance = run.join().unwrap();
        assert!(process(&mut instance, &batch(Some(3))).is_err());
        let columns: Arc<_> = batch(None);
        instance.process(&Batch { input: 0, partition: 0, columns: &columns }, &CONTEXT).unwrap();
        assert_eq!((instance.usage().calls, instance.usage().traps), (2, 1));
    }
}
