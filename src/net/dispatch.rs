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
use std::future::poll_fn;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::handle::accept::ListenSocket;
use crate::handle::{close, Closed};
use crate::runtime::{Core, CoreHandle, JoinHandle};
use crate::sys::fd::OwnedFd;

/// Connections that may wait for one core.
const QUEUE_MAX: usize = 64;

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
    /// The acceptor, which waits for room in a queue: woken when some queue, or who has a seat, changes.
    waits: Option<Waker>,
}

/// What stands for a listener that has a seat.
struct Row {
    number: u64,
    core: CoreHandle,
    queue: VecDeque<Accepted>,
    waker: Option<Waker>,
}

impl Table {
    /// Puts it into the queue of the core with the least to do: whom to wake. Gives it back if all
    /// are full.
    fn enqueue(&mut self, accepted: Accepted, queue_max: usize) -> Result<Option<Waker>, Accepted> {
        let room = self.seats.iter_mut().filter(|row| row.queue.len() < queue_max);
        let scored = room.map(|row| (row.core.load().score(row.queue.len()), row));
        let best = scored.min_by(|(one, _), (other, _)| one.total_cmp(other));
        let Some((_, row)) = best else { return Err(accepted) };
        row.queue.push_back(accepted);
        Ok(row.waker.take())
    }
}

impl Dispatcher {
    /// For a socket that listens.
    pub(super) fn new(socket: OwnedFd) -> Arc<Dispatcher> {
        Arc::new(Dispatcher { socket: Mutex::new(Some(socket)), table: Mutex::default() })
    }

    /// A seat, and a descriptor of the socket; `None` if the last listener has gone.
    pub(super) fn sit(self: &Arc<Self>) -> io::Result<Option<(Seat, OwnedFd)>> {
        let socket = lock(&self.socket);
        let Some(fd) = socket.as_ref().map(OwnedFd::try_clone).transpose()? else {
            return Ok(None);
        };
        let mut table = lock(&self.table);
        table.last += 1;
        let number = table.last;
        let core = CoreHandle::current();
        table.seats.push(Row { number, core, queue: VecDeque::new(), waker: None });
        let waits = table.waits.take();
        drop(table);
        drop(socket);
        waits.into_iter().for_each(Waker::wake);
        Ok(Some((Seat { dispatcher: self.clone(), number, acceptor: RefCell::default() }, fd)))
    }

    /// Puts it into the queue of the core with the least to do; gives it back if all are full.
    fn enqueue(&self, accepted: Accepted, queue_max: usize) -> Result<(), Accepted> {
        let waker = lock(&self.table).enqueue(accepted, queue_max)?;
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The same, as soon as some queue has room. If nobody has a seat any more it is kept for the
    /// listener that stops last.
    async fn enqueue_with_room(&self, accepted: Accepted) {
        let mut accepted = Some(accepted);
        let waker = poll_fn(|cx| {
            let mut table = lock(&self.table);
            let one = accepted.take().expect("it is put there once");
            if table.seats.is_empty() {
                table.left.push(one);
                return Poll::Ready(None);
            }
            match table.enqueue(one, QUEUE_MAX) {
                Ok(waker) => Poll::Ready(waker),
                Err(back) => {
                    accepted = Some(back);
                    let old = table.waits.replace(cx.waker().clone());
                    drop(table);
                    drop(old);
                    Poll::Pending
                }
            }
        })
        .await;
        waker.into_iter().for_each(Waker::wake);
    }

    /// The acceptor's life. It ends when its listener has been stopped and has no more to give.
    async fn accept(self: Arc<Self>, listener: Rc<ListenSocket>) {
        loop {
            match listener.accept(None).await {
                Err(error) if Closed::is(&error) => return,
                accepted => self.enqueue_with_room(accepted).await,
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
            let waits = table.waits.take();
            drop(table);
            waits.into_iter().for_each(Waker::wake);
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
        let queue = index.map(|index| table.seats.swap_remove(index).queue).unwrap_or_default();
        let waits = table.waits.take();
        drop(table);
        waits.into_iter().for_each(Waker::wake);
        queue
    }

    /// The end of this seat: hands on what it had, and the role of the acceptor.
    fn give_up(&self, left: VecDeque<Accepted>, keep: Option<&ListenSocket>) {
        match keep {
            Some(listener) => left.into_iter().for_each(|one| listener.keep(one)),
            // Where nobody is left they are reset, like all that nobody has accepted.
            None => left.into_iter().for_each(|one| drop(self.dispatcher.enqueue(one, usize::MAX))),
        }
        // The socket's lock before the table's, as in `sit`.
        let mut socket = lock(&self.dispatcher.socket);
        let mut table = lock(&self.dispatcher.table);
        let mut wakers = Vec::new();
        if table.acceptor == Some(self.number) {
            table.acceptor = None;
            wakers = table.seats.iter_mut().filter_map(|row| row.waker.take()).collect();
        }
        let last = if table.seats.is_empty() { socket.take() } else { None };
        drop(table);
        drop(socket);
        drop(last);
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
