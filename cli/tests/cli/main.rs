//! The command line as a user meets it: the built program is started, talked to over loopback, sent
//! signals, and its exit code and words are read. What it says on stderr is also what the tests
//! wait for, so none of them sleeps.

mod endings;
mod forwarding;
mod metrics;
mod probe;
mod proxy;
mod restart;
mod usage;
