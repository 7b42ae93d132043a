//! Tests of what restore points need and what nobody does.
