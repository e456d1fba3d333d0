//! Bulk: streams that send without pause through a relay into a sink.
//!
//! The sender's bytes are the same 256 KiB again and again, and the sink mostly lets the kernel throw
//! away what came (MSG_TRUNC), so the relay is the only one that copies twice. One receive in 16
//! takes its bytes and compares them with what belongs at that place of the stream, so bytes that
//! were lost, doubled or changed are an error of the run.
//!
//! With acknowledgements the sink sends a small message back for every 64 KiB that it got. The sender
//! throws them away, but a stream of which none has come back has starved.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{opcode, types, IoUring};

use super::{connect, invalid, Order, Phase, Sample, Window, PATIENCE};
use crate::ring;
use crate::workload::MESSAGE_SIZE;

const CHUNK_SIZE: usize = 256 * 1024;
/// What is sent and compared byte for byte before the run: fits into any socket's buffer.
const PROOF_SIZE: usize = 8 * 1024;
/// One receive in so many is compared.
const COMPARED_EVERY: u64 = 16;
/// How many bytes are acknowledged at once.
const ACKNOWLEDGED_SIZE: u64 = 64 * 1024;
/// The bits of user_data that tell the sender's end from the sink's, a receive that keeps its bytes,
/// and what is done for acknowledgements. The rest is the stream's index.
const SENDER: u64 = 1 << 32;
const KEPT: u64 = 2 << 32;
const ACKNOWLEDGES: u64 = 4 << 32;

/// Runs `streams` senders through the relay, in one direction.
pub(super) fn run(
    order: &Order,
    streams: usize,
    acknowledged: bool,
    origin: &TcpListener,
) -> io::Result<Sample> {
    let mut senders = Vec::with_capacity(streams);
    let mut sinks = Vec::with_capacity(streams);
    for index in 0..streams {
        senders.push(connect::connect(order.server, index)?);
        sinks.push(connect::accept(origin)?);
    }
    let proof: Vec<u8> = (0..PROOF_SIZE).map(|i| (i * 31 % 251) as u8).collect();
    connect::prove(&senders, &sinks, &proof)?;
    connect::prove(&sinks, &senders, &proof)?;
    let ring = ring::open(64, 256)?;
    // A chunk twice: what a receive must have got is one piece of it, wherever it begins.
    let chunk = (0..2 * CHUNK_SIZE).map(|i| pattern(i % CHUNK_SIZE)).collect();
    let streams = senders.into_iter().zip(sinks);
    let streams = streams.map(|(sender, sink)| Stream::new(sender, sink));
    let streams = streams.collect();
    Loop { ring, streams, acknowledged, chunk }.measure(Window::new(order)?)
}

/// A byte of the chunk: no short period, so that a piece fits at its own place only.
fn pattern(index: usize) -> u8 {
    ((index as u32).wrapping_mul(2_654_435_761) >> 13) as u8
}

struct Stream {
    sender: TcpStream,
    sink: TcpStream,
    /// Where in the chunk the next send begins.
    next_send: usize,
    /// Where in the chunk the next bytes to be received lie.
    next_receive: usize,
    receives: u64,
    /// Bytes in the window.
    counted: u64,
    /// Bytes that have come since the last acknowledgement was begun, and whether it is on its way.
    unacknowledged: u64,
    acknowledging: bool,
    /// Bytes of acknowledgements that have come back.
    acknowledgements: u64,
    /// What is received into, whether or not it is kept.
    buffer: Box<[u8]>,
}

impl Stream {
    fn new(sender: TcpStream, sink: TcpStream) -> Self {
        let buffer = vec![0; CHUNK_SIZE].into_boxed_slice();
        Self {
            sender,
            sink,
            next_send: 0,
            next_receive: 0,
            receives: 0,
            counted: 0,
            unacknowledged: 0,
            acknowledging: false,
            acknowledgements: 0,
            buffer,
        }
    }
}

struct Loop {
    // Dropped first: nothing may be in flight when streams and memory go.
    ring: IoUring,
    streams: Vec<Stream>,
    acknowledged: bool,
    /// The chunk, twice.
    chunk: Box<[u8]>,
}

impl Loop {
    fn measure(mut self, mut window: Window) -> io::Result<Sample> {
        for index in 0..self.streams.len() {
            self.send(index)?;
            self.receive(index)?;
            if self.acknowledged {
                self.receive_acknowledgements(index)?;
            }
        }
        loop {
            ring::submit_and_wait(&self.ring, PATIENCE)?;
            let now = Instant::now();
            let phase = window.phase(now)?;
            if phase == Phase::Over {
                let counted = self.streams.iter().map(|stream| stream.counted);
                let kib = counted.sum::<u64>() as f64 / 1024.0;
                let starved = |stream: &Stream| self.acknowledged && stream.acknowledgements == 0;
                let shares = self.streams.iter().map(|stream| match starved(stream) {
                    true => 0,
                    false => stream.counted,
                });
                return window.close(now)?.sample(kib, shares, None);
            }
            // One entry at a time, since handling it queues others on the same ring.
            loop {
                let Some(entry) = self.ring.completion().next() else { break };
                let index = entry.user_data() as u32 as usize;
                let stream = &mut self.streams[index];
                match entry.result() {
                    errno if errno < 0 => return Err(io::Error::from_raw_os_error(-errno)),
                    0 => return Err(invalid("the relay closed a stream")),
                    count if entry.user_data() & ACKNOWLEDGES != 0 => {
                        if entry.user_data() & SENDER != 0 {
                            stream.acknowledgements += count as u64;
                            self.receive_acknowledgements(index)?;
                        } else {
                            stream.acknowledging = false;
                            self.acknowledge(index)?;
                        }
                    }
                    count if entry.user_data() & SENDER != 0 => {
                        stream.next_send = (stream.next_send + count as usize) % CHUNK_SIZE;
                        self.send(index)?;
                    }
                    count => {
                        let count = count as usize;
                        if entry.user_data() & KEPT != 0 {
                            let begin = stream.next_receive;
                            if stream.buffer[..count] != self.chunk[begin..begin + count] {
                                return Err(invalid("the relay changed what it passed on"));
                            }
                        }
                        stream.next_receive = (stream.next_receive + count) % CHUNK_SIZE;
                        if phase == Phase::Counting {
                            stream.counted += count as u64;
                        }
                        stream.unacknowledged += count as u64;
                        self.receive(index)?;
                        self.acknowledge(index)?;
                    }
                }
            }
        }
    }

    /// Sends an acknowledgement if one is due, and none on its way.
    fn acknowledge(&mut self, index: usize) -> io::Result<()> {
        let stream = &mut self.streams[index];
        let due = self.acknowledged && stream.unacknowledged >= ACKNOWLEDGED_SIZE;
        if !due || stream.acknowledging {
            return Ok(());
        }
        stream.unacknowledged -= ACKNOWLEDGED_SIZE;
        stream.acknowledging = true;
        let fd = types::Fd(stream.sink.as_raw_fd());
        let entry = opcode::Send::new(fd, self.chunk.as_ptr(), MESSAGE_SIZE as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(ACKNOWLEDGES | index as u64);
        // SAFETY: the chunk outlives the ring and is never written to.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    /// Lets the kernel throw away the acknowledgements that come next.
    fn receive_acknowledgements(&mut self, index: usize) -> io::Result<()> {
        let fd = types::Fd(self.streams[index].sender.as_raw_fd());
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), CHUNK_SIZE as u32)
            .flags(libc::MSG_TRUNC)
            .build()
            .user_data(ACKNOWLEDGES | SENDER | index as u64);
        // SAFETY: with MSG_TRUNC a stream's bytes are written nowhere.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let stream = &self.streams[index];
        let fd = types::Fd(stream.sender.as_raw_fd());
        let bytes = &self.chunk[stream.next_send..stream.next_send + CHUNK_SIZE];
        let entry = opcode::Send::new(fd, bytes.as_ptr(), CHUNK_SIZE as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(SENDER | index as u64);
        // SAFETY: the chunk outlives the ring and is never written to.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let stream = &mut self.streams[index];
        stream.receives += 1;
        let (flags, kept) = match stream.receives % COMPARED_EVERY {
            0 => (0, KEPT),
            _ => (libc::MSG_TRUNC, 0),
        };
        let fd = types::Fd(stream.sink.as_raw_fd());
        let entry = opcode::Recv::new(fd, stream.buffer.as_mut_ptr(), CHUNK_SIZE as u32)
            .flags(flags)
            .build()
            .user_data(kept | index as u64);
        // SAFETY: the buffer outlives the ring, and is looked at only after the one receive that
        // writes to it has completed.
        unsafe { ring::push(&mut self.ring, &entry) }
    }
}
