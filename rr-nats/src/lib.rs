//! x
mod config; mod duration; mod endpoint; mod error; mod wire;
