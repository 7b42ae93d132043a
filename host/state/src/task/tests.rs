//! Tests of `task`, through what it offers to others.

mod history;
mod limits;
mod model;
mod steps;
