//! Questions to a coordinator that does not answer.

use std::future::{pending, ready};

use gregor_model::names::JobName;
use tokio::runtime::Runtime;

use super::*;

#[test]
fn a_question_to_the_coordinator_ends_when_the_job_is_to_stop_and_is_told_from_a_failure() {
    let io = Runtime::new().unwrap();
    let job = JobName::new("start").unwrap();
    let fenced = || CoordinationError::Poisoned { job: job.clone(), reason: "closed".to_owned() };
    let asking = Asking::new(io.handle(), &|| true);
    // An answer that is there counts, and so does a failure: only what nobody waited for to its end is given up.
    assert_eq!(asking.ask(ready(Ok(7))), Ok(7));
    assert!(asking.ask(ready(Err::<(), _>(fenced()))).is_err() && !asking.gave_up.get());
    assert!(asking.ask(pending::<Result<(), _>>()).is_err() && asking.gave_up.get());
}
