//! Models and metrics that come with the binary.

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
