//! Cuts lines into words. Input `lines`: the value is a line of text. Output `words`: the key is a word, the value is empty. What a word is
//! stands at [`words`]. Refuses nothing: a line without a word emits none.

mod word;

use gregor::{Batch, Description, Error, Output, Port, Task};
pub use word::{Word, words};

const WORDS: Port = Port(0);

/// The task: it keeps nothing.
struct Split;

impl Task for Split {
    fn describe() -> Description {
        Description::new().input("lines").output("words")
    }

    fn init() -> Result<Self, Error> {
        Ok(Self)
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error> {
        for record in batch {
            words(record.value().unwrap_or_default(), |word| out.of(&record).emit(WORDS, word, ""));
        }
        Ok(())
    }
}

gregor::export!(Split);
