//! Streams of dead letters among the streams of a job, and what may become of them when a job goes on.

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
    Job { name, stages, checkpoint: CheckpointSettings::default(), limits: Limits::default() }
}

#[test]
fn dead_letters_are_a_stream_of_their_stage() {
    let job = job(vec![stage("a", "files", dead("dead")), stage("b", "dead", OnError::Stop)]);
    assert_eq!(job.check(), Ok(()));
    assert_eq!(job.writer_of(&stream("dead")), Some((0, 8)));
    assert_eq!(job.tasks(&BTreeMap::from([((0, 0), 3)])), Ok(vec![3, 8]));
    let names: Vec<(u16, &str)> = job.streams().map(|(stage, name, _)| (stage, name.as_str())).collect();
    assert_eq!(names, [(0, "of-a"), (0, "dead"), (1, "of-b")]);
}

#[test]
fn a_stream_of_dead_letters_has_one_writer_and_no_circle_leads_through_it() {
    let twice = InvalidJob::WrittenTwice("dead".to_owned());
    assert_eq!(job(vec![stage("a", "files", dead("dead")), stage("b", "files", dead("dead"))]).check(), Err(twice.clone()));
    assert!(twice.to_string().contains("dead letters counted"), "{twice}");
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

#[test]
fn a_stored_policy_reads_back_and_the_old_ones_are_what_they_were() {
    for (policy, stored) in
        [(OnError::Stop, r#""stop""#), (OnError::Skip, r#""skip""#), (dead("d"), r#"{"dead-letter":{"stream":"d","partitions":8}}"#)]
    {
        assert_eq!(serde_json::to_string(&policy).unwrap(), stored);
        assert_eq!(serde_json::from_str::<OnError>(stored).unwrap(), policy);
    }
}
