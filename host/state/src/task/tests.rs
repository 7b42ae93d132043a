mod history;
mod limits;
mod model;
mod steps;
