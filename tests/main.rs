//! The system from outside: the built binary on real files, in real processes that are stopped, killed, starved and lied to; and `tidy`, the
//! repository's own rules. Refuses to look inside: a test knows command lines, files and exit codes only. Seeds are printed and set with
//! `GREGOR_TEST_SEED`.
#![cfg(test)]

mod altered;
mod archive_faults;
mod bad_guests;
mod bad_input;
mod bases;
mod bench;
mod cases;
mod changed;
mod collect;
mod components;
mod dead_letters;
mod disk;
mod ends;
mod formats;
mod formats_of_files;
mod going_back;
mod harness;
mod javascript;
mod kills;
mod large;
mod pace;
mod produce;
mod readme;
mod restarts;
mod savepoints;
mod soak;
mod steps;
mod stops;
mod streams;
mod task_logs;
mod tidy;
mod verify;
mod word_count;
mod zookeeper;
