//! The floor: a hand-written io_uring loop with nothing in it but the work.
//!
//! One multishot receive per connection into a ring of buffers that are filled piece by piece, and
//! sends straight from those buffers. One multishot accept, and closes that go with the next
//! submission. No executor, no timers, no cancellation, no limits, and a relayed connection that
//! ended is not even freed: what a runtime costs is what it takes more than this.
//!
//! ```text
//!   source ──▶ piece of a ring buffer ──▶ queue of its lane ──▶ target
//! ```
//! A lane is one direction. An echo has one, from a connection to itself; a relay has two.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use io_uring::{cqueue, opcode, squeue, types, IoUring};

use super::{listen, raw_wake, unfit, Announce, Contestant, Order};
use crate::load::Sample;
use crate::ring::{self, Buffers};
use crate::workload::{Service, Shape};

const GROUP: u16 = 0;
const BUFFERS: u16 = 16;
const BUFFER_SIZE: u32 = 64 * 1024;
/// user_data: what completed in the upper half, the lane's index in the lower.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const CLOSE: u64 = 3 << 32;
/// A server with no load waits for its first connection without end; this is as good.
const PATIENCE: Duration = Duration::from_secs(3600);

/// See the file's head.
pub(super) struct RawUring;

impl Contestant for RawUring {
    fn name(&self) -> &'static str {
        "raw-uring"
    }

    fn about(&self) -> &'static str {
        "hand-written: multishot receive, 16 incremental buffers of 64 KiB, DEFER_TASKRUN"
    }

    fn offers(&self, shape: Shape) -> bool {
        !matches!(shape.service(), Service::Timers | Service::EchoOnAll)
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let origin = match *order {
            Order::Echo => None,
            Order::Relay { origin, .. } => Some(origin),
            _ => return Err(unfit(self.name(), order)),
        };
        let listener = listen()?;
        announce(listener.local_addr()?)?;
        Loop::new(listener, origin)?.run()
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        raw_wake::uring(order)
    }
}

/// Pieces that go out with one send.
const PIECES_MAX: usize = 16;

/// Received bytes that wait to be sent, or are under way.
struct Piece {
    buffer: u16,
    offset: u32,
    len: u32,
}

/// One direction.
struct Lane {
    source: RawFd,
    target: RawFd,
    queue: VecDeque<Piece>,
    /// How many pieces at the queue's head are with the kernel.
    sending: usize,
    /// What several of them are sent by, once there were several.
    message: Option<Box<Message>>,
    /// Whether source and target are still open.
    open: bool,
    /// Whether a receive is under way.
    receiving: bool,
    /// Keeps the source's descriptor open.
    stream: Option<TcpStream>,
}

/// The arguments of a send of several pieces, which the kernel reads when it submits them.
struct Message {
    header: libc::msghdr,
    vectors: [libc::iovec; PIECES_MAX],
}

impl Message {
    fn new() -> Self {
        // SAFETY: both are plain structures of numbers and pointers, for which zero is valid.
        unsafe { std::mem::zeroed() }
    }
}

/// How far a ring buffer is filled, and by whom it is still held.
#[derive(Clone, Copy, Default)]
struct Fill {
    filled: u32,
    pieces: u32,
    /// Whether the kernel has said that it puts nothing more in.
    full: bool,
}

struct Loop {
    ring: IoUring,
    listener: TcpListener,
    origin: Option<SocketAddr>,
    buffers: Buffers,
    fills: [Fill; BUFFERS as usize],
    lanes: Vec<Lane>,
    /// Echo lanes whose connection was closed.
    free: Vec<usize>,
    /// Lanes whose receive ended because no buffer was free. Each has bytes waiting, so each that
    /// is let on takes up a buffer, whose release lets on the next.
    hungry: VecDeque<usize>,
}

impl Loop {
    fn new(listener: TcpListener, origin: Option<SocketAddr>) -> io::Result<Self> {
        let ring = ring::open(1024, 8192)?;
        let buffers = Buffers::incremental(&ring, GROUP, BUFFERS, BUFFER_SIZE)?;
        let fills = [Fill::default(); BUFFERS as usize];
        let (lanes, free, hungry) = (vec![], vec![], VecDeque::new());
        Ok(Self { ring, listener, origin, buffers, fills, lanes, free, hungry })
    }

    fn run(mut self) -> io::Result<()> {
        self.accept()?;
        loop {
            ring::submit_and_wait(&self.ring, PATIENCE)?;
            loop {
                let Some(entry) = self.ring.completion().next() else { break };
                let lane = entry.user_data() as u32 as usize;
                match entry.user_data() & !u64::from(u32::MAX) {
                    ACCEPT => self.accepted(&entry)?,
                    RECEIVE => self.received(lane, &entry)?,
                    SEND => self.sent(lane, &entry)?,
                    CLOSE => return Err(io::Error::from_raw_os_error(-entry.result())),
                    other => unreachable!("nothing was sent off with {other:#x}"),
                }
            }
            self.buffers.publish();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd = types::Fd(self.listener.as_raw_fd());
        let entry = opcode::AcceptMulti::new(fd).build().user_data(ACCEPT);
        // SAFETY: the entry points to nothing.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn accepted(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(entry.flags()) {
            self.accept()?;
        }
        if entry.result() < 0 {
            return Err(io::Error::from_raw_os_error(-entry.result()));
        }
        // SAFETY: the kernel gave this descriptor to us, once.
        let client = unsafe { TcpStream::from_raw_fd(entry.result()) };
        let fd = client.as_raw_fd();
        let Some(origin) = self.origin else { return self.open(client, fd) };
        // Blocking, but on loopback, and before anything is measured.
        let server = TcpStream::connect(origin)?;
        server.set_nodelay(true)?;
        let target = server.as_raw_fd();
        self.open(client, target)?;
        self.open(server, fd)
    }

    fn open(&mut self, stream: TcpStream, target: RawFd) -> io::Result<()> {
        let source = stream.as_raw_fd();
        let stream = Some(stream);
        let lane = match self.free.pop() {
            Some(lane) => {
                let old = &mut self.lanes[lane];
                (old.source, old.target, old.open, old.stream) = (source, target, true, stream);
                lane
            }
            None => {
                let queue = VecDeque::with_capacity(4);
                let (open, receiving, sending, message) = (true, false, 0, None);
                let lane =
                    Lane { source, target, queue, sending, message, open, receiving, stream };
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        };
        self.receive(lane)
    }

    /// Closes an echo's connection once nothing of it is under way. A relay's stay as they are.
    fn retire(&mut self, lane: usize) -> io::Result<()> {
        let Lane { source, target, queue, sending, open, receiving, stream, .. } =
            &mut self.lanes[lane];
        let busy = *open || *receiving || *sending > 0 || !queue.is_empty();
        if busy || source != target {
            return Ok(());
        }
        let Some(stream) = stream.take() else { return Ok(()) };
        self.free.push(lane);
        let entry = opcode::Close::new(types::Fd(stream.into_raw_fd())).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(CLOSE);
        // SAFETY: the entry points to nothing, and the descriptor is nobody else's any more.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn receive(&mut self, lane: usize) -> io::Result<()> {
        self.lanes[lane].receiving = true;
        let fd = types::Fd(self.lanes[lane].source);
        let entry = opcode::RecvMulti::new(fd, GROUP).build().user_data(RECEIVE | lane as u64);
        // SAFETY: the entry points to nothing: it receives into the registered buffers.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn received(&mut self, lane: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let more = cqueue::more(entry.flags());
        self.lanes[lane].receiving = more;
        match (entry.result(), cqueue::buffer_select(entry.flags())) {
            (len, Some(buffer)) if len > 0 => {
                let fill = &mut self.fills[usize::from(buffer)];
                let (offset, len) = (fill.filled, len as u32);
                fill.filled += len;
                fill.full = !cqueue::buffer_more(entry.flags());
                self.queue(lane, buffer, offset, len);
                if !more {
                    self.receive(lane)?;
                }
                self.send(lane)
            }
            (errno, _) if errno == -libc::ENOBUFS => {
                self.hungry.push_back(lane);
                Ok(())
            }
            // The other side went: what is queued may still leave, but nobody waits for it here.
            (_, buffer) => {
                self.lanes[lane].open = false;
                if let Some(buffer) = buffer.filter(|_| !cqueue::buffer_more(entry.flags())) {
                    self.fills[usize::from(buffer)].full = true;
                    self.release(buffer)?;
                }
                self.feed()?;
                self.retire(lane)
            }
        }
    }

    /// Queues a piece, or lengthens the last one if it lies right behind and is not under way.
    fn queue(&mut self, lane: usize, buffer: u16, offset: u32, len: u32) {
        let Lane { queue, sending, .. } = &mut self.lanes[lane];
        let untouched = queue.len() > *sending;
        match queue.back_mut().filter(|_| untouched) {
            Some(last) if last.buffer == buffer && last.offset + last.len == offset => {
                last.len += len;
            }
            _ => {
                queue.push_back(Piece { buffer, offset, len });
                self.fills[usize::from(buffer)].pieces += 1;
            }
        }
    }

    /// Sends everything that is queued, unless a send is under way.
    fn send(&mut self, lane: usize) -> io::Result<()> {
        let Lane { target, queue, sending, message, .. } = &mut self.lanes[lane];
        if *sending > 0 || queue.is_empty() {
            return Ok(());
        }
        // SAFETY: a piece lies within its buffer.
        let start = |piece: &Piece| unsafe {
            self.buffers.start(piece.buffer).add(piece.offset as usize).cast::<libc::c_void>()
        };
        *sending = queue.len().min(PIECES_MAX);
        let fd = types::Fd(*target);
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = if *sending == 1 {
            opcode::Send::new(fd, start(&queue[0]).cast(), queue[0].len).flags(flags).build()
        } else {
            let message = message.get_or_insert_with(|| Box::new(Message::new()));
            for (piece, vector) in queue.iter().zip(&mut message.vectors) {
                *vector = libc::iovec { iov_base: start(piece), iov_len: piece.len as usize };
            }
            message.header.msg_iov = message.vectors.as_mut_ptr();
            message.header.msg_iovlen = *sending;
            opcode::SendMsg::new(fd, &message.header).flags(flags as u32).build()
        };
        // SAFETY: the buffers are not given back before the send has completed, and the message
        // stays where it is, untouched, as long as `sending` is not zero.
        unsafe { ring::push(&mut self.ring, &entry.user_data(SEND | lane as u64)) }
    }

    fn sent(&mut self, lane: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let this = &mut self.lanes[lane];
        let mut left = u32::try_from(entry.result()).unwrap_or_else(|_| {
            // The target is gone: what was under way has nowhere to go.
            this.open = false;
            u32::MAX
        });
        for _ in 0..std::mem::take(&mut this.sending) {
            let queue = &mut self.lanes[lane].queue;
            let piece = queue.front_mut().expect("as many pieces as are under way");
            let sent = left.min(piece.len);
            left -= sent;
            piece.offset += sent;
            piece.len -= sent;
            if piece.len > 0 {
                break;
            }
            let buffer = piece.buffer;
            queue.pop_front();
            self.fills[usize::from(buffer)].pieces -= 1;
            self.release(buffer)?;
        }
        self.send(lane)?;
        self.retire(lane)
    }

    /// Gives a buffer back that is full and sent, and lets a lane receive that waited for it.
    fn release(&mut self, buffer: u16) -> io::Result<()> {
        let fill = &mut self.fills[usize::from(buffer)];
        if !fill.full || fill.pieces > 0 {
            return Ok(());
        }
        *fill = Fill::default();
        self.buffers.give_back(buffer);
        self.buffers.publish();
        self.feed()
    }

    /// Lets one lane receive again that had found no buffer.
    fn feed(&mut self) -> io::Result<()> {
        while let Some(lane) = self.hungry.pop_front() {
            // It may be another connection's by now.
            if self.lanes[lane].open && !self.lanes[lane].receiving {
                return self.receive(lane);
            }
        }
        Ok(())
    }
}
