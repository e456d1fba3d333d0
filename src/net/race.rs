//! Connecting to the first of several addresses that answers: "Happy Eyeballs" (RFC 8305).
//!
//! The families take turns, beginning with the one that the resolver prefers. Each address has a
//! quarter of a second before the next is tried beside it; when one fails, the next begins at once.
//! The first that succeeds ends the others.

use std::future::{poll_fn, Future};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::time::{sleep_until, Sleep};
use crate::timer::clock;

/// How long an address has before the next is tried beside it (RFC 8305, section 5).
const DELAY: Duration = Duration::from_millis(250);

/// Lets the families take turns, in the order of each (section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

type Attempt<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + 'a>>;

/// The attempts that are under way.
struct Race<'a, T, F> {
    /// Addresses that have not been tried, the next one last.
    left: Vec<SocketAddr>,
    attempt: F,
    running: Vec<Attempt<'a, T>>,
    /// When the next begins although the ones before have not failed.
    next: Pin<Box<Sleep>>,
    last_error: Option<io::Error>,
    deadline: Option<Instant>,
}

impl<'a, T, F, Fut> Race<'a, T, F>
where
    F: FnMut(SocketAddr, Option<Instant>) -> Fut,
    Fut: Future<Output = io::Result<T>> + 'a,
{
    fn begin_next(&mut self) -> bool {
        let Some(address) = self.left.pop() else { return false };
        let now = clock::now();
        // Each gets an equal part of the time that is left.
        let deadline = self
            .deadline
            .map(|at| now + at.saturating_duration_since(now) / (1 + self.left.len() as u32));
        self.running.push(Box::pin((self.attempt)(address, deadline)));
        self.next = Box::pin(sleep_until(now + DELAY));
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let mut failed = false;
            let mut index = 0;
            while index < self.running.len() {
                match self.running[index].as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Ok(connected)),
                    Poll::Ready(Err(error)) => {
                        drop(self.running.swap_remove(index));
                        self.last_error = Some(error);
                        failed = true;
                    }
                    Poll::Pending => index += 1,
                }
            }
            let due = !self.left.is_empty() && self.next.as_mut().poll(cx).is_ready();
            if (failed || due || self.running.is_empty()) && self.begin_next() {
                continue;
            }
            return match (self.running.is_empty(), self.last_error.take()) {
                (true, Some(error)) => Poll::Ready(Err(error)),
                (true, None) => unreachable!("without an address there is no race"),
                (false, error) => {
                    self.last_error = error;
                    Poll::Pending
                }
            };
        }
    }
}

/// Tries the addresses, of which there is one at least, with `attempt`, which is told until when it
/// has time: what the first success brings, or the last error.
pub(super) async fn race<'a, T, Fut>(
    addresses: Vec<SocketAddr>,
    deadline: Option<Instant>,
    attempt: impl FnMut(SocketAddr, Option<Instant>) -> Fut,
) -> io::Result<T>
where
    Fut: Future<Output = io::Result<T>> + 'a,
{
    let mut left = interleave(addresses);
    left.reverse();
    let next = Box::pin(sleep_until(clock::now()));
    let running = Vec::with_capacity(left.len().min(2));
    let mut race = Race { left, attempt, running, next, last_error: None, deadline };
    poll_fn(|cx| race.poll(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let list = |names: &[&str]| -> Vec<SocketAddr> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
        let (x, y) = ("1.1.1.1:1", "2.2.2.2:1");
        assert_eq!(interleave(list(&[a, b, c, x, y])), list(&[a, x, b, y, c]));
        assert_eq!(interleave(list(&[x, y, a])), list(&[x, a, y]));
        assert_eq!(interleave(list(&[x])), list(&[x]));
        assert!(interleave(Vec::new()).is_empty());
    }
}
