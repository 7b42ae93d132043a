//! Runs jobs: the supervisor (one loop over one closed `Event` enum), the workers that call guests, the task loop, commit and recovery. State,
//! outputs and input positions become durable together here, in `commit`, and nowhere else. Refuses to parse job files, to name a concrete
//! adapter, and to go on after an invariant of ours is broken or a durable write has failed for good.

pub mod setup;
