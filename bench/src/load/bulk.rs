//! Bulk: streams that send without pause through a relay into a sink.
//!
//! The sender's bytes are the same 256 KiB again and again, and the sink lets the kernel throw
//! away what came (MSG_TRUNC), so the relay is the only one that copies twice.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{opcode, types, IoUring};

use super::{connect, invalid, Order, Phase, Sample, Window, PATIENCE};
use crate::ring;

const CHUNK_SIZE: usize = 256 * 1024;
/// What is sent and compared byte for byte before the run: fits into any socket's buffer.
const PROOF_SIZE: usize = 8 * 1024;
/// The bit of user_data that tells the sender's end from the sink's.
const SENDER: u64 = 1 << 32;

/// Runs `streams` senders through the relay, in one direction.
pub(super) fn run(order: &Order, streams: usize, origin: &TcpListener) -> io::Result<Sample> {
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
    let sink = vec![0; CHUNK_SIZE].into_boxed_slice();
    let chunk = vec![0x5a; CHUNK_SIZE].into_boxed_slice();
    Loop { ring, senders, sinks, chunk, sink }.measure(Window::new(order)?)
}

struct Loop {
    // Dropped first: nothing may be in flight when streams and memory go.
    ring: IoUring,
    senders: Vec<TcpStream>,
    sinks: Vec<TcpStream>,
    chunk: Box<[u8]>,
    sink: Box<[u8]>,
}

impl Loop {
    fn measure(mut self, mut window: Window) -> io::Result<Sample> {
        for index in 0..self.senders.len() {
            self.send(index)?;
            self.receive(index)?;
        }
        let mut counted = vec![0_u64; self.sinks.len()];
        loop {
            ring::submit_and_wait(&self.ring, PATIENCE)?;
            let now = Instant::now();
            let phase = window.phase(now)?;
            if phase == Phase::Over {
                let kib = counted.iter().sum::<u64>() as f64 / 1024.0;
                return window.close(now)?.sample(kib, counted.into_iter(), None);
            }
            // One entry at a time, since handling it queues others on the same ring.
            loop {
                let Some(entry) = self.ring.completion().next() else { break };
                let index = (entry.user_data() & !SENDER) as usize;
                match entry.result() {
                    errno if errno < 0 => return Err(io::Error::from_raw_os_error(-errno)),
                    0 => return Err(invalid("the relay closed a stream")),
                    _ if entry.user_data() & SENDER != 0 => self.send(index)?,
                    count => {
                        if phase == Phase::Counting {
                            counted[index] += count as u64;
                        }
                        self.receive(index)?;
                    }
                }
            }
        }
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let fd = types::Fd(self.senders[index].as_raw_fd());
        let entry = opcode::Send::new(fd, self.chunk.as_ptr(), CHUNK_SIZE as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(SENDER | index as u64);
        // SAFETY: the chunk outlives the ring and is never written to.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn receive(&mut self, index: usize) -> io::Result<()> {
        let fd = types::Fd(self.sinks[index].as_raw_fd());
        let entry = opcode::Recv::new(fd, self.sink.as_mut_ptr(), CHUNK_SIZE as u32)
            .flags(libc::MSG_TRUNC)
            .build()
            .user_data(index as u64);
        // SAFETY: the sink outlives the ring. All receives share it, but none writes to it.
        unsafe { ring::push(&mut self.ring, &entry) }
    }
}
