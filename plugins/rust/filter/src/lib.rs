//! Forwards those records of `in` to `out` whose value contains the text of the config `contains`. Refuses to run without it; a record
//! without value contains nothing, not even the empty text.

use gregor::{Batch, Description, Error, Output, Port, Task};
use memchr::memmem::Finder;

const OUT: Port = Port(0);

/// The task.
struct Filter {
    wanted: Finder<'static>,
}

impl Task for Filter {
    fn describe() -> Description {
        Description::new().input("in").output("out")
    }

    fn init() -> Result<Self, Error> {
        let missing = || Error::fatal("config contains is missing; give the stage config = { contains = \"the text to look for\" }");
        let wanted = gregor::context::config("contains").ok_or_else(missing)?;
        Ok(Self { wanted: Finder::new(&wanted).into_owned() })
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error> {
        for record in batch {
            if record.value().is_some_and(|value| self.wanted.find(value).is_some()) {
                out.forward(OUT, &record);
            }
        }
        Ok(())
    }
}

gregor::export!(Filter);
