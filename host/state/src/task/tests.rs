//! Tests of `task`, through what it offers to others.

mod history;
mod images;
mod limits;
mod merges;
mod model;
mod steps;
