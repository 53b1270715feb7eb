//! Models, metrics and labelling functions that come with the binary.

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
