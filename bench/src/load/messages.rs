//! Messages in a closed loop: every connection has exactly one under way.
//!
//! ```text
//!   echo:     client ── message ──▶ contestant ── the same ──▶ client
//!   relayed:  client ──▶ contestant ──▶ origin, in this loop too ──▶ contestant ──▶ client
//! ```
//! A message carries its connection and its number, on each of its pages, and every byte of every
//! answer is compared: one that belongs to someone else, or an old one, is an error of the run and
//! not a good figure.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{cqueue, opcode, types, IoUring};

use super::{connect, invalid, Latency, Order, Phase, Sample, Window, PATIENCE};
use crate::ring::{self, Buffers};
use crate::stats::Histogram;

const GROUP: u16 = 0;
/// How many buffers there are to receive into, of which size: for small messages, and for all
/// others. They are looked at and given back at once, so few of them do, and stay in cache.
const SMALL: (u16, u32) = (2048, 128);
const LARGE: (u16, u32) = (128, 16 * 1024);
/// A message is stamped with its connection and number once in so many bytes.
const STAMP_EVERY: usize = 4096;
/// What is sent before the run, at most: fits into any socket's buffer.
const PROOF_MAX: usize = 8 * 1024;
/// The bit of user_data that tells a send from a receive; the rest is the connection's index.
const SEND: u64 = 1 << 32;

/// The messages of each fifth connection, and of the others: 51 of 256 carry 80 % of the bytes.
const SKEWED: (usize, usize) = (16 * 1024, 1024);

/// Runs so many clients, of which a fifth carries most. What it costs is the latency of all but one in
/// a hundred requests.
pub(super) fn run_skewed(order: &Order, connections: usize) -> io::Result<Sample> {
    let heavy = |index: usize| index % 5 == 0 && index / 5 < connections / 5;
    let size = |index| if heavy(index) { SKEWED.0 } else { SKEWED.1 };
    let sizes: Vec<usize> = (0..connections).map(size).collect();
    let sample = run(order, &sizes, None)?;
    let latency = sample.latency.ok_or_else(|| invalid("no request took any time"))?;
    Ok(Sample { cost: latency.p99_ns as f64, ..sample })
}

/// Runs a client for each of these sizes of messages, against the server, or through it if there is
/// an origin.
pub(super) fn run(
    order: &Order,
    sizes: &[usize],
    origin: Option<&TcpListener>,
) -> io::Result<Sample> {
    let connections = sizes.len();
    let size_min = sizes.iter().copied().min().unwrap_or(0);
    let proof = vec![7; size_min.min(PROOF_MAX)];
    let mut clients = Vec::with_capacity(connections);
    let mut origins = Vec::new();
    for index in 0..connections {
        clients.push(connect::connect(order.server, index)?);
        if let Some(origin) = origin {
            origins.push(connect::accept(origin)?);
        }
        if clients.len() % connect::BATCH == 0 || clients.len() == connections {
            let fresh = (clients.len() - 1) / connect::BATCH * connect::BATCH;
            let proven = origins.get(fresh..).unwrap_or_default();
            connect::prove(&clients[fresh..], proven, &proof)?;
        }
    }
    Loop::new(clients, origins, sizes)?.measure(Window::new(order)?)
}

/// One end of a connection.
struct End {
    stream: TcpStream,
    /// Where the kernel sends from, boxed with all others in `Loop::messages`.
    message: *mut u8,
    /// Bytes of a message.
    size: usize,
    /// How much of the message under way has come in.
    received: usize,
    number: u64,
    sent_at: Instant,
    /// Answers in the window.
    answers: u64,
}

struct Loop {
    // Dropped first: nothing may be in flight when streams and messages go.
    ring: IoUring,
    buffers: Buffers,
    /// Clients first, then the origin's ends.
    ends: Vec<End>,
    clients: usize,
    /// The ends whose next message goes out with this batch.
    sending: Vec<usize>,
    histogram: Histogram,
    /// Owns what the ends' pointers point to.
    _messages: Box<[u8]>,
}

impl Loop {
    fn new(clients: Vec<TcpStream>, origins: Vec<TcpStream>, sizes: &[usize]) -> io::Result<Self> {
        let ring = ring::open(1024, 8192)?;
        let small = sizes.iter().all(|&size| size <= SMALL.1 as usize);
        let (count, buffer_size) = if small { SMALL } else { LARGE };
        let buffers = Buffers::new(&ring, GROUP, count, buffer_size)?;
        let ends = clients.len() + origins.len();
        // The origin's ends answer in the sizes of the clients, in the same order.
        let sizes = sizes.iter().copied().cycle().take(ends);
        let bytes = (0..sizes.clone().sum::<usize>()).map(|i| (i * 31 % 251) as u8);
        let mut messages: Box<[u8]> = bytes.collect();
        let now = Instant::now();
        let count = clients.len();
        let mut rest = &mut *messages;
        let ends = clients.into_iter().chain(origins).zip(sizes).map(|(stream, size)| {
            let (slot, after) = std::mem::take(&mut rest).split_at_mut(size);
            rest = after;
            let message = slot.as_mut_ptr();
            End { stream, message, size, received: 0, number: 0, sent_at: now, answers: 0 }
        });
        let ends = ends.collect();
        Ok(Self {
            ring,
            buffers,
            ends,
            clients: count,
            sending: Vec::with_capacity(count),
            histogram: Histogram::new(),
            _messages: messages,
        })
    }

    fn measure(mut self, mut window: Window) -> io::Result<Sample> {
        for index in 0..self.ends.len() {
            self.receive(index)?;
        }
        for client in 0..self.clients {
            self.send_next(client)?;
        }
        loop {
            let now = Instant::now();
            for index in self.sending.drain(..) {
                self.ends[index].sent_at = now;
            }
            ring::submit_and_wait(&self.ring, PATIENCE)?;
            let now = Instant::now();
            let phase = window.phase(now)?;
            if phase == Phase::Over {
                return self.report(&window.close(now)?);
            }
            self.batch(now, phase == Phase::Counting)?;
            self.buffers.publish();
        }
    }

    fn batch(&mut self, now: Instant, counting: bool) -> io::Result<()> {
        // One entry at a time, since handling it queues others on the same ring.
        loop {
            let Some(entry) = self.ring.completion().next() else { return Ok(()) };
            let index = (entry.user_data() & !SEND) as usize;
            if entry.user_data() & SEND != 0 {
                if entry.result() != self.ends[index].size as i32 {
                    return Err(failed("send", &entry));
                }
                continue;
            }
            self.received(index, &entry, now, counting)?;
        }
    }

    fn received(
        &mut self,
        index: usize,
        entry: &cqueue::Entry,
        now: Instant,
        counting: bool,
    ) -> io::Result<()> {
        if !cqueue::more(entry.flags()) {
            self.receive(index)?;
        }
        if entry.result() == -libc::ENOBUFS {
            return Ok(());
        }
        let (Some(id), true) = (cqueue::buffer_select(entry.flags()), entry.result() > 0) else {
            return Err(failed("receive", entry));
        };
        let len = entry.result() as usize;
        let end = &mut self.ends[index];
        let bytes = self.buffers.bytes(id, 0, len as u32);
        let whole = end.received + len;
        if whole > end.size {
            return Err(invalid("more came than was sent"));
        }
        if index < self.clients {
            // SAFETY: the end's own slot of `size` bytes; its send was answered, so the
            // kernel has read it.
            let sent = unsafe { std::slice::from_raw_parts(end.message, end.size) };
            if bytes != &sent[end.received..whole] {
                return Err(invalid("an answer that is not what was asked"));
            }
        } else {
            // SAFETY: the slot has `size` bytes, of which `received..whole` are within. Its
            // last send was answered by the client's next message, so the kernel has read it.
            let slot = unsafe { std::slice::from_raw_parts_mut(end.message, end.size) };
            slot[end.received..whole].copy_from_slice(bytes);
        }
        self.buffers.give_back(id);
        end.received = whole % end.size;
        if whole < end.size {
            return Ok(());
        }
        if index >= self.clients {
            return self.send(index);
        }
        if counting {
            end.answers += 1;
            self.histogram.record((now - end.sent_at).as_nanos() as u64);
        }
        self.send_next(index)
    }

    /// Numbers a client's message and sends it.
    fn send_next(&mut self, client: usize) -> io::Result<()> {
        let end = &mut self.ends[client];
        end.number += 1;
        // SAFETY: the client's own slot; its last send was answered, so the kernel has read it.
        let slot = unsafe { std::slice::from_raw_parts_mut(end.message, end.size) };
        for page in slot.chunks_mut(STAMP_EVERY) {
            page[..8].copy_from_slice(&(client as u64).to_le_bytes());
            page[8..16].copy_from_slice(&end.number.to_le_bytes());
        }
        self.sending.push(client);
        self.send(client)
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let end = &self.ends[index];
        let fd = types::Fd(end.stream.as_raw_fd());
        let entry = opcode::Send::new(fd, end.message, end.size as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(SEND | index as u64);
        // SAFETY: the message lives until the ring is closed, and is not written to before it
        // was answered.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let fd = types::Fd(self.ends[index].stream.as_raw_fd());
        let entry = opcode::RecvMulti::new(fd, GROUP).build().user_data(index as u64);
        // SAFETY: the entry points to nothing: it receives into the registered buffers.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn report(&self, measured: &super::Measured) -> io::Result<Sample> {
        let answers = self.ends[..self.clients].iter().map(|end| end.answers);
        let latency = Latency::of(&self.histogram);
        measured.sample(self.histogram.total() as f64, answers, latency)
    }
}

fn failed(what: &str, entry: &cqueue::Entry) -> io::Error {
    match entry.result() {
        errno if errno < 0 => io::Error::from_raw_os_error(-errno),
        count => invalid(format!("{what} ended with {count}: the contestant closed")),
    }
}
