//! HTTP messages as values: bodies, header fields, hosts and problems, without any rule about
//! idempotency.

mod authority;
mod body;
mod budget;
mod coding;
mod field;
mod fields;
mod gather;
mod pace;
mod problem;

pub use authority::{Authority, AuthorityError};
pub use body::{Arriving, Body, BodyError, Partly, Read, ReadError, after, read};
pub use budget::{Budget, Reservation};
pub use coding::{Coding, Undecodable};
pub use field::{StringError, parse_string};
pub use fields::{
    Field, Fields, NominationError, check_nominations, clean, overriding_method, scan,
};
pub use gather::Gathered;
pub use pace::Pace;
pub use problem::{Problem, ProblemKind};
