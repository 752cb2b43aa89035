//! One pass over real files into an index kept in memory, undisturbed and disturbed.

mod crash;
mod rights;
mod source;
mod statuses;
mod support;
