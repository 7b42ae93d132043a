//! Forwards each record of `in` to `out`, unchanged. Refuses nothing.

use gregor::{Batch, Description, Error, Output, Port, Task};

const OUT: Port = Port(0);

/// The task: it keeps nothing.
struct Identity;

impl Task for Identity {
    fn describe() -> Description {
        Description::new().input("in").output("out")
    }

    fn init() -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error> {
        out.forward_all(OUT, batch);
        Ok(())
    }
}

gregor::export!(Identity);
