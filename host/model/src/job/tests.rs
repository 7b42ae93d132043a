//! Streams of dead letters, and of records from outside, among the streams of a job, and what may become of them when a job goes on.

use super::*;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn dead(name: &str) -> OnError {
    OnError::DeadLetter { stream: stream(name), partitions: 8 }
}

fn stage(name: &str, reads: &str, on_error: OnError) -> Stage {
    let source = match reads {
        "files" => Source::File { folder: "/in".to_owned(), pattern: "**".to_owned(), format: Format::Lines },
        reads => Source::Stream { name: stream(reads) },
    };
    let sink = Sink::Stream { name: stream(&format!("of-{name}")), partitions: 4 };
    Stage {
        name: StageName::new(name).unwrap(),
        component: Digest([0; 32]),
        inputs: vec![Input { port: PortName::new("in").unwrap(), source }],
        outputs: vec![Output { port: PortName::new("out").unwrap(), sink }],
        stores: Vec::new(),
        config: BTreeMap::new(),
        on_error,
        retries: 1,
    }
}

fn job(stages: Vec<Stage>) -> Job {
    let name = JobName::new("j").unwrap();
    Job { name, stages, produced: Vec::new(), checkpoint: CheckpointSettings::default(), limits: Limits::default() }
}

#[test]
fn dead_letters_are_a_stream_of_their_stage() {
    let job = job(vec![stage("a", "files", dead("dead")), stage("b", "dead", OnError::Stop)]);
    assert_eq!(job.check(), Ok(()));
    assert_eq!(job.writer_of(&stream("dead")), Some((Writer::Stage(0), 8)));
    assert_eq!(job.tasks(&BTreeMap::from([((0, 0), 3)])), Ok(vec![3, 8]));
    let names: Vec<(Writer, &str)> = job.streams().map(|(writer, name, _)| (writer, name.as_str())).collect();
    let expected = [(0, "of-a"), (0, "dead"), (1, "of-b")].map(|(stage, name)| (Writer::Stage(stage), name));
    assert_eq!(names, expected);
}

#[test]
fn a_stream_of_dead_letters_has_one_writer_and_no_circle_leads_through_it() {
    let twice = InvalidJob::WrittenTwice("dead".to_owned());
    assert_eq!(job(vec![stage("a", "files", dead("dead")), stage("b", "files", dead("dead"))]).check(), Err(twice.clone()));
    assert!(twice.to_string().contains("dead letters and [[stream]] counted"), "{twice}");
    assert_eq!(job(vec![stage("a", "files", dead("of-a"))]).check(), Err(InvalidJob::WrittenTwice("of-a".to_owned())));
    assert_eq!(job(vec![stage("a", "dead", dead("dead"))]).check(), Err(InvalidJob::Cycle("a".to_owned())));
    let circle = job(vec![stage("a", "dead", OnError::Skip), stage("b", "of-a", dead("dead"))]);
    assert_eq!(circle.check(), Err(InvalidJob::Cycle("a, b".to_owned())));
}

#[test]
fn a_job_that_goes_on_may_begin_or_give_up_dead_letters_unless_a_stage_reads_them() {
    let policies = [OnError::Stop, OnError::Skip, dead("dead"), dead("other")];
    for before in &policies {
        for now in &policies {
            let [before, now] = [before, now].map(|policy| job(vec![stage("a", "files", policy.clone())]));
            assert_eq!((now.changed_since(&before), now.check()), (None, Ok(())));
        }
    }
    let read = |policy: OnError| job(vec![stage("a", "files", policy), stage("b", "dead", OnError::Stop)]);
    for policy in [OnError::Stop, OnError::Skip, dead("other")] {
        assert_eq!(read(policy.clone()).changed_since(&read(dead("dead"))), None);
        let refused = read(policy).check().unwrap_err();
        assert!(matches!(&refused, InvalidJob::NotWritten { stage, stream, .. } if stage == "b" && stream == "dead"), "{refused}");
    }
}

fn produced(names: &[&str]) -> Vec<Produced> {
    names.iter().map(|name| Produced { name: stream(name), partitions: 3 }).collect()
}

#[test]
fn a_stream_of_records_from_outside_has_a_writer_of_its_own_and_partitions_like_any_other() {
    let job = Job {
        produced: produced(&["orders", "prices"]),
        ..job(vec![stage("a", "prices", dead("d")), stage("b", "orders", OnError::Stop)])
    };
    assert_eq!(job.check(), Ok(()));
    assert_eq!(job.tasks(&BTreeMap::new()), Ok(vec![3, 3]));
    let writers = ["orders", "prices"].map(|name| match job.writer_of(&stream(name)) {
        Some((Writer::Producer(task), 3)) => produced_by(task),
        other => panic!("{name}: {other:?}"),
    });
    assert_eq!(writers, [Some(0), Some(1)]);
    assert_eq!(job.stages.iter().map(|stage| job.is_outside(&stage.inputs[0].source)).collect::<Vec<_>>(), [true, true]);
    assert!(!job.is_outside(&Source::Stream { name: stream("d") }) && job.is_outside(&stage("c", "files", OnError::Stop).inputs[0].source));
    assert_eq!(produced_by(TaskId { stage: 999, partition: 0 }), None);
}

#[test]
fn a_stream_of_records_from_outside_is_read_and_nobody_else_writes_it_and_it_stays_what_it_is() {
    let reads = |streams: &[&str]| Job { produced: produced(streams), ..job(vec![stage("a", "orders", dead("d"))]) };
    assert_eq!(reads(&["orders"]).check(), Ok(()));
    assert_eq!(reads(&["orders", "more"]).check(), Err(InvalidJob::NotRead("more".to_owned())));
    for twice in ["d", "of-a", "orders"] {
        assert_eq!(reads(&["orders", twice]).check(), Err(InvalidJob::WrittenTwice(twice.to_owned())));
    }
    let changed = reads(&["orders"]).changed_since(&reads(&[])).map(|changed| changed.what);
    assert_eq!(changed.as_deref(), Some("the list of [[stream]]"));
    // What was stored before there were such streams reads back as it was.
    assert!(!serde_json::to_string(&reads(&[])).unwrap().contains("produced"));
}

#[test]
fn a_stored_policy_reads_back_and_the_old_ones_are_what_they_were() {
    for (policy, stored) in
        [(OnError::Stop, r#""stop""#), (OnError::Skip, r#""skip""#), (dead("d"), r#"{"dead-letter":{"stream":"d","partitions":8}}"#)]
    {
        assert_eq!(serde_json::to_string(&policy).unwrap(), stored);
        assert_eq!(serde_json::from_str::<OnError>(stored).unwrap(), policy);
    }
}
