//! kqueue(2): the selector of the BSDs and of macOS.
//!
//! Each descriptor is added once, for both directions, each with a filter of its own that is
//! edge-triggered (`EV_CLEAR`): an event says that something has changed since the last one, and adding
//! it reports what is there already.
//!
//! The notifier is an event of the queue itself (`EVFILT_USER`), and a descriptor where the kernel has
//! no such events (NetBSD before 10, OpenBSD before 7.8).

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::selector::{Event, Selector};
use crate::driver::engine::Wait;
use crate::driver::error::not_pollable;
use crate::sys::kqueue::{change, filter, kevent, udata, Filter, Queue};
use crate::sys::kqueue::{EV_ADD, EV_CLEAR, EV_EOF, NOTE_TRIGGER};
use crate::sys::{Notify, WakeFd};

/// Events taken by one call. More are taken by the next.
const EVENTS_MAX: usize = 1024;

/// The name of the notifier's event among those of its filter.
const NOTIFIER: usize = 0;

pub(super) struct Kqueue {
    queue: Arc<Queue>,
    notifier: Notifier,
    buffer: Vec<kevent>,
    /// Of directions that the kernel refuses to watch: for the next wait.
    refused: Vec<Event>,
}

impl Kqueue {
    /// Makes the selector and lets it watch the notifier.
    pub(super) fn open() -> io::Result<Kqueue> {
        let queue = Arc::new(Queue::new()?);
        let user = change(NOTIFIER, Filter::User, EV_ADD | EV_CLEAR, 0, 0);
        let notifier = match queue.apply(&[user]) {
            Ok(()) => Notifier::Event(Arc::new(UserEvent(queue.clone()))),
            Err(error) => {
                tracing::debug!(target: "ringpark", %error, "no EVFILT_USER: waking by descriptor");
                let wake = Arc::new(WakeFd::new(true)?);
                // Level-triggered, so that what is left in it is not missed.
                queue.apply(&[change(wake.fd() as usize, Filter::Read, EV_ADD, 0, 0)])?;
                Notifier::Descriptor(wake)
            }
        };
        Ok(Kqueue { queue, notifier, buffer: Vec::new(), refused: Vec::new() })
    }
}

impl Selector for Kqueue {
    fn watch(&mut self, fd: RawFd, generation: u32) -> io::Result<()> {
        let both = [Filter::Read, Filter::Write]
            .map(|filter| change(fd as usize, filter, EV_ADD | EV_CLEAR, 0, generation));
        if self.queue.apply(&both).is_ok() {
            return Ok(());
        }
        // A pipe whose other end is gone has no filter for writing any more (EPIPE), a descriptor that
        // is open for one direction may have none for the other. Who waits for a direction that is
        // refused is told to try: the attempt says what is the matter.
        let [read, write] = both.each_ref().map(|one| self.queue.apply(std::slice::from_ref(one)));
        let (read_ended, write_ended) = match (&read, &write) {
            (Err(error), Err(_)) => match error.raw_os_error() {
                Some(libc::EINVAL | libc::ENODEV | libc::EOPNOTSUPP | libc::EPERM) => {
                    return Err(not_pollable());
                }
                _ => return read,
            },
            (read, write) => (read.is_err(), write.is_err()),
        };
        let (readable, writable) = (read_ended, write_ended);
        self.refused.push(Event { fd, generation, readable, writable, read_ended, write_ended });
        Ok(())
    }

    /// The kernel forgets a descriptor by itself when it is closed; events that are under way have
    /// an old generation.
    fn unwatch(&mut self, fd: RawFd) {
        self.queue.closing(fd);
    }

    fn release(&mut self, fd: RawFd) {
        if let Err(error) = self.queue.forget(fd) {
            // It was added, so nothing but memory can be short; an event of it is harmless.
            tracing::debug!(target: "ringpark", %error, fd, "cannot end the watch of a descriptor");
        }
    }

    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<()> {
        let at_most = match wait {
            _ if !self.refused.is_empty() => Some(Duration::ZERO),
            Wait::No => Some(Duration::ZERO),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        };
        events.append(&mut self.refused);
        self.fill(at_most)?;
        for event in self.buffer.drain(..) {
            let fd = event.ident as RawFd;
            let (reads, writes) = match filter(&event) {
                Filter::User => continue,
                Filter::Read => (true, false),
                Filter::Write => (false, true),
            };
            if self.notifier.is(fd) {
                self.notifier.drain();
                continue;
            }
            // The end of one direction is told to those who wait for the other too: a connection that
            // fails ends both, and some kernels say so through one filter only.
            let ended = event.flags & EV_EOF != 0;
            events.push(Event {
                fd,
                generation: udata(&event),
                readable: reads || ended,
                read_ended: reads && ended,
                writable: writes || ended,
                write_ended: writes && ended,
            });
        }
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        match &self.notifier {
            Notifier::Event(event) => event.clone(),
            Notifier::Descriptor(wake) => wake.clone(),
        }
    }
}

impl Kqueue {
    /// Waits, and fills the buffer, which is empty before.
    fn fill(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(EVENTS_MAX);
        }
        let count = self.queue.wait(self.buffer.spare_capacity_mut(), at_most)?;
        // SAFETY: the kernel has filled so many events from the front.
        unsafe { self.buffer.set_len(count) };
        Ok(())
    }
}

/// What ends a wait.
enum Notifier {
    Event(Arc<UserEvent>),
    Descriptor(Arc<WakeFd>),
}

impl Notifier {
    /// Whether it is this descriptor.
    fn is(&self, fd: RawFd) -> bool {
        matches!(self, Notifier::Descriptor(wake) if wake.fd() == fd)
    }

    fn drain(&self) {
        match self {
            // Its event was taken down when it was reported.
            Notifier::Event(_) => {}
            Notifier::Descriptor(wake) => wake.drain(),
        }
    }
}

/// The event of the queue that any thread can raise.
#[derive(Debug)]
struct UserEvent(Arc<Queue>);

impl Notify for UserEvent {
    fn raise(&self) -> io::Result<()> {
        let trigger = change(NOTIFIER, Filter::User, 0, NOTE_TRIGGER, 0);
        loop {
            match self.0.apply(&[trigger]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    fn wait(kqueue: &mut Kqueue, wait: Wait) -> Vec<Event> {
        let mut events = Vec::new();
        kqueue.wait(wait, &mut events).expect("a wait");
        events
    }

    #[test]
    fn a_wait_is_never_too_short_and_any_time_can_be_waited_for() {
        let mut kqueue = Kqueue::open().expect("a queue");
        for nanos in [0, 1, 250_000, 1_000_001] {
            let (time, start) = (Duration::from_nanos(nanos), Instant::now());
            assert!(wait(&mut kqueue, Wait::For(time)).is_empty());
            assert!(start.elapsed() >= time);
        }
        let notifier = kqueue.notifier();
        for long in [Duration::MAX, Duration::from_secs(1 << 40), Duration::from_secs(1 << 31)] {
            notifier.raise().expect("an event");
            notifier.raise().expect("an event");
            assert!(wait(&mut kqueue, Wait::For(long)).is_empty(), "the notifier is no event");
        }
        let start = Instant::now();
        wait(&mut kqueue, Wait::For(Duration::from_millis(5)));
        assert!(start.elapsed() >= Duration::from_millis(5), "raised twice, told once");
    }

    #[test]
    fn an_event_is_told_once_and_the_end_of_one_direction_wakes_the_other() {
        let (ours, mut other) = UnixStream::pair().expect("a pair");
        let mut kqueue = Kqueue::open().expect("a queue");
        kqueue.watch(ours.as_raw_fd(), 7).expect("a socket can be watched");
        let events = wait(&mut kqueue, Wait::Forever);
        assert!(events.iter().all(|event| event.generation == 7 && !event.write_ended));
        assert!(events.iter().any(|event| event.writable) && !events.iter().any(|e| e.readable));
        other.write_all(b"x").expect("room");
        assert!(wait(&mut kqueue, Wait::Forever).iter().any(|event| event.readable));
        assert!(wait(&mut kqueue, Wait::No).is_empty(), "nothing has changed");
        other.shutdown(Shutdown::Write).expect("it is connected");
        let events = wait(&mut kqueue, Wait::Forever);
        assert!(events.iter().any(|event| event.read_ended && event.writable));
        assert!(!events.iter().any(|event| event.write_ended), "we may still write");
        kqueue.unwatch(ours.as_raw_fd());
    }

    #[test]
    fn a_descriptor_that_was_released_is_another_queues() {
        let (ours, mut other) = UnixStream::pair().expect("a pair");
        let (mut one, mut two) =
            (Kqueue::open().expect("a queue"), Kqueue::open().expect("another"));
        one.watch(ours.as_raw_fd(), 1).expect("a socket can be watched");
        wait(&mut one, Wait::Forever);
        one.release(ours.as_raw_fd());
        two.watch(ours.as_raw_fd(), 2).expect("a socket can be watched");
        other.write_all(b"x").expect("room");
        let readable = |events: Vec<Event>| events.iter().any(|event| event.readable);
        assert!(readable(wait(&mut two, Wait::Forever)));
        assert!(wait(&mut one, Wait::No).is_empty(), "it is not told of it any more");
        two.unwatch(ours.as_raw_fd());
    }
}
