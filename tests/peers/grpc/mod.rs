//! gRPC, by the library `grpcio` for Python on both sides.

mod guarded;
mod refused;
mod service;
mod streams;
