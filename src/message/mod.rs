//! HTTP messages as values: bodies, header fields, hosts and problems, without any rule about
//! idempotency.

mod authority;
mod body;
mod budget;
mod coding;
mod field;
mod fields;
mod gather;
mod grpc;
mod inbound;
mod pace;
mod problem;

pub use authority::{Authority, AuthorityError, Scheme, host_and_port};
pub use body::{Arriving, Body, Partly, Read, ReadError, after, read, without_misplaced};
pub use budget::{Budget, Reservation};
pub use coding::{Coding, Undecodable};
pub use field::{StringError, parse_string};
pub use fields::{
    Field, Fields, NominationError, accepts_trailers, check_nominations, clean, clean_trailers,
    overriding_method, scan,
};
pub use gather::Gathered;
pub use grpc::{Code, Extent, Style, beginning, extent, is_grpc};
pub use inbound::{BodyError, End, Inbound};
pub use pace::Pace;
pub use problem::{Problem, ProblemKind};
