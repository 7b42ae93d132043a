//! What `wit-bindgen` makes of the contract in `wit/`. Not for authors: the rest of this crate is the door, and this module may change with
//! every version of the generator.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]

wit_bindgen::generate!({ path: "../../../wit", world: "task-with-lifecycle", pub_export_macro: true });
