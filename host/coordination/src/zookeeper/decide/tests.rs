//! Tests of what the nodes say about a write.
