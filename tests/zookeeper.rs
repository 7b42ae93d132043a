//! Jobs whose checkpoints ZooKeeper decides, from outside: hosts that are killed, stopped and replaced, a network that fails, servers that are
//! killed or lose their data. Refuses a ZooKeeper that is none: each test talks to a real server, through a proxy where the network is to fail.

mod claims;
mod house;
mod kills;
mod lost;
mod network;
mod nodes;
mod servers;
