#![cfg(test)]
//! The coordinator over a real ZooKeeper, through its boundary: what it writes, whom it fences, and what it makes of lost requests, lost
//! replies, lost sessions, lost servers and lost data. Session time-outs are short, so that each test takes seconds.

#[path = "zookeeper/claims.rs"]
mod claims;
#[path = "../../../tests/harness/clock.rs"]
mod clock;
#[path = "zookeeper/house.rs"]
mod house;
#[path = "zookeeper/outages.rs"]
mod outages;
#[path = "../../../tests/harness/proxy.rs"]
mod proxy;
#[path = "zookeeper/script.rs"]
mod script;
#[path = "../../../tests/harness/zookeeper.rs"]
mod server;
