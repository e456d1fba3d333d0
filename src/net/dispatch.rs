//! One acceptor for several cores, which gives each connection to the core with the least to do.
//!
//! ```text
//!   kernel's queue ─▶ acceptor, a task on one of the cores ─▶ choose by load
//!                                                              │     │
//!                                  core 0: seat ◀──────────────┘     └──▶ core 1: seat
//!                                  accept() takes from its seat           accept() ...
//! ```
//!
//! Each core's listener on the address has a seat: a queue, and whom to wake. Whoever calls accept
//! first becomes the acceptor; when its listener goes, the next one who calls, or waits, takes over.
//! The queues are short: if all are full the acceptor waits, and connections wait in the kernel, as
//! they do for a listener that nobody asks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::handle::accept::ListenSocket;
use crate::handle::{close, Closed};
use crate::runtime::{Core, CoreHandle, JoinHandle};
use crate::time::sleep;

/// Connections that may wait for one core.
const QUEUE_MAX: usize = 64;

/// How long the acceptor waits when all queues are full.
const PAUSE: Duration = Duration::from_millis(1);

/// What is accepted: a connection, or what is wrong with the listener.
type Accepted = io::Result<OwnedFd>;

/// What the listeners of one address share.
pub(super) struct Dispatcher {
    /// The socket, from which each listener has its own descriptor; gone with the last of them.
    socket: Mutex<Option<OwnedFd>>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    seats: Vec<Row>,
    last: u64,
    /// What was accepted when nobody had a seat any more: for the listener that stops last.
    left: Vec<Accepted>,
    /// Whose core runs the acceptor.
    acceptor: Option<u64>,
}

/// What stands for a listener that has a seat.
struct Row {
    number: u64,
    core: CoreHandle,
    queue: VecDeque<Accepted>,
    waker: Option<Waker>,
}

impl Dispatcher {
    /// For a socket that listens.
    pub(super) fn new(socket: OwnedFd) -> Arc<Dispatcher> {
        Arc::new(Dispatcher { socket: Mutex::new(Some(socket)), table: Mutex::default() })
    }

    /// A seat, and a descriptor of the socket; `None` if the last listener has gone.
    pub(super) fn sit(self: &Arc<Self>) -> io::Result<Option<(Seat, OwnedFd)>> {
        let socket = lock(&self.socket);
        let Some(socket) = &*socket else { return Ok(None) };
        let fd = socket.try_clone()?;
        let mut table = lock(&self.table);
        table.last += 1;
        let number = table.last;
        let core = CoreHandle::current();
        table.seats.push(Row { number, core, queue: VecDeque::new(), waker: None });
        Ok(Some((Seat { dispatcher: self.clone(), number, acceptor: RefCell::default() }, fd)))
    }

    /// Puts it into the queue of the core with the least to do; gives it back if all are full.
    fn enqueue(&self, accepted: Accepted, queue_max: usize) -> Result<(), Accepted> {
        let mut table = lock(&self.table);
        let room = table.seats.iter_mut().filter(|row| row.queue.len() < queue_max);
        let scored = room.map(|row| (row.core.load().score(row.queue.len()), row));
        let best = scored.min_by(|(one, _), (other, _)| one.total_cmp(other));
        let Some((_, row)) = best else { return Err(accepted) };
        row.queue.push_back(accepted);
        let waker = row.waker.take();
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Keeps it for the listener that stops last, if nobody has a seat any more; else gives it back.
    fn leave_over(&self, accepted: Accepted) -> Result<(), Accepted> {
        let mut table = lock(&self.table);
        if !table.seats.is_empty() {
            return Err(accepted);
        }
        table.left.push(accepted);
        Ok(())
    }

    /// The acceptor's life. It ends when its listener has been stopped and has no more to give.
    async fn accept(self: Arc<Self>, listener: Rc<ListenSocket>) {
        loop {
            let mut accepted = match listener.accept(None).await {
                Err(error) if Closed::is(&error) => return,
                other => other,
            };
            while let Err(back) = self.enqueue(accepted, QUEUE_MAX) {
                accepted = back;
                match self.leave_over(accepted) {
                    Ok(()) => break,
                    Err(back) => accepted = back,
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// A listener's seat among those of its address.
pub(super) struct Seat {
    dispatcher: Arc<Dispatcher>,
    number: u64,
    /// The acceptor, if it runs here.
    acceptor: RefCell<Option<(Rc<ListenSocket>, JoinHandle<()>)>>,
}

impl Seat {
    /// The next connection for this core.
    pub(super) fn poll_next(
        &self,
        listener: &ListenSocket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<OwnedFd>> {
        let mut table = lock(&self.dispatcher.table);
        let Some(row) = table.seats.iter_mut().find(|row| row.number == self.number) else {
            return Poll::Ready(Err(Closed::error()));
        };
        if let Some(accepted) = row.queue.pop_front() {
            drop(table);
            return Poll::Ready(accepted);
        }
        let old = row.waker.replace(cx.waker().clone());
        let vacant = table.acceptor.is_none();
        if vacant {
            table.acceptor = Some(self.number);
        }
        drop(table);
        drop(old);
        match vacant.then(|| self.take_over(listener)) {
            Some(Err(error)) => {
                lock(&self.dispatcher.table).acceptor = None;
                Poll::Ready(Err(error))
            }
            _ => Poll::Pending,
        }
    }

    /// Becomes the acceptor.
    fn take_over(&self, listener: &ListenSocket) -> io::Result<()> {
        let socket = listener.handle().with_fd(|fd| fd.try_clone_to_owned())??;
        let core = Core::current();
        let own = Rc::new(ListenSocket::new(core.clone(), socket));
        let task = core.spawn(self.dispatcher.clone().accept(own.clone()), Location::caller());
        *self.acceptor.borrow_mut() = Some((own, task));
        Ok(())
    }

    /// Gives the seat up: from now on nothing is queued here. What was queued goes to the listener that
    /// is to `keep` it, if there is one, else to the others.
    pub(super) async fn leave(&self, keep: Option<&ListenSocket>) -> io::Result<()> {
        let mut left = self.stand_up();
        let acceptor = self.acceptor.take();
        if let Some((listener, task)) = acceptor {
            // What the kernel has given the acceptor already goes to the others.
            listener.stop().await?;
            let ended = task.await;
            close(listener.handle()).await?;
            ended?;
            left.extend(std::mem::take(&mut lock(&self.dispatcher.table).left));
        }
        self.give_up(left, keep);
        Ok(())
    }

    /// Takes the queue, and the seat away.
    fn stand_up(&self) -> VecDeque<Accepted> {
        let mut table = lock(&self.dispatcher.table);
        let index = table.seats.iter().position(|row| row.number == self.number);
        index.map(|index| table.seats.swap_remove(index).queue).unwrap_or_default()
    }

    /// The end of this seat: hands on what it had, and the role of the acceptor.
    fn give_up(&self, left: VecDeque<Accepted>, keep: Option<&ListenSocket>) {
        match keep {
            Some(listener) => left.into_iter().for_each(|one| listener.keep(one)),
            // Where nobody is left they are reset, like all that nobody has accepted.
            None => left.into_iter().for_each(|one| drop(self.dispatcher.enqueue(one, usize::MAX))),
        }
        let mut table = lock(&self.dispatcher.table);
        let mut wakers = Vec::new();
        if table.acceptor == Some(self.number) {
            table.acceptor = None;
            wakers = table.seats.iter_mut().filter_map(|row| row.waker.take()).collect();
        }
        if table.seats.is_empty() {
            drop(lock(&self.dispatcher.socket).take());
        }
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut left = self.stand_up();
        if let Some((listener, task)) = self.acceptor.take() {
            task.abort();
            left.extend(listener.take_accepted());
        }
        self.give_up(left, None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Changed in single steps: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
