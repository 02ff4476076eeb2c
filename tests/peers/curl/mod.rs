//! curl: every version of HTTP that it speaks, over every way in.

mod bodies;
mod caller;
mod certificates;
mod ways;
