//! Churn: connections that live for one request. Connect, send, receive, close, and the next.
//!
//! ```text
//!   socket, bind ─▶ connect ─link▶ send ─link▶ receive ─▶ compare, close ─▶ socket, bind ...
//!   system calls    one submission, one completion        system call
//! ```
//! On loopback the handshake runs in whoever connects, so this side of it costs more than the
//! server's: the server's CPU time is the figure here, and its rate is the load's.
//!
//! The side that closes first keeps the address in TIME_WAIT, which is this one. Sources change
//! with each connection, so that no source runs out of ports.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types, IoUring};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{invalid, Latency, Measured, Order, Phase, Sample, Window, PATIENCE};
use crate::ring;
use crate::stats::Histogram;
use crate::workload::MESSAGE_SIZE;

/// How many source addresses there are, 250 to a network: each has 28,000 ports by default.
const SOURCES: u64 = 500;
/// user_data: the step in the upper half, the connection's slot in the lower. The first two say
/// something only when they fail.
const CONNECT: u64 = 0;
const SEND: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;

/// Keeps `connections` of them going.
pub(super) fn run(order: &Order, connections: usize) -> io::Result<Sample> {
    let open_before = open_descriptors(order.server_pid)?;
    let ring = ring::open(1024, 4096)?;
    let slots = (0..connections).map(|_| Slot::new()).collect();
    let server = Box::new(SockAddr::from(order.server));
    let churn = Loop { ring, server, slots, begun: 0, histogram: Histogram::new() };
    let sample = churn.measure(Window::new(order)?)?;
    all_closed(order.server_pid, open_before + connections)?;
    Ok(sample)
}

/// A server that does not close what its clients have closed would be paid for work it left out.
fn all_closed(server_pid: u32, open_max: usize) -> io::Result<()> {
    let since = Instant::now();
    loop {
        let open = open_descriptors(server_pid)?;
        if open <= open_max {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(invalid(format!("the contestant still has {open} descriptors open")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets a bind to an address choose no port: one that is free for every peer is not needed, and is
/// slow to find. IP_BIND_ADDRESS_NO_PORT, ip(7), Linux 4.2.
fn choose_port_at_connect(socket: RawFd) -> io::Result<()> {
    let on = 1;
    let (level, option) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option's value is an int that outlives the call, and its true size is passed.
    match unsafe { libc::setsockopt(socket, level, option, (&raw const on).cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open_descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// A connection, and after it the next one.
struct Slot {
    stream: Option<TcpStream>,
    begun_at: Instant,
    request: Box<[u8; MESSAGE_SIZE]>,
    answer: Box<[u8; MESSAGE_SIZE]>,
    /// Connections in the window.
    answers: u64,
}

impl Slot {
    fn new() -> Self {
        let request = Box::new(std::array::from_fn(|i| (i * 31 % 251) as u8));
        let answer = Box::new([0; MESSAGE_SIZE]);
        Self { stream: None, begun_at: Instant::now(), request, answer, answers: 0 }
    }
}

struct Loop {
    // Dropped first; by then nothing is in flight, unless the run has failed.
    ring: IoUring,
    /// Boxed, since connects in flight point to it.
    server: Box<SockAddr>,
    slots: Vec<Slot>,
    /// How many connections were begun.
    begun: u64,
    histogram: Histogram,
}

impl Loop {
    fn measure(mut self, window: Window) -> io::Result<Sample> {
        for slot in 0..self.slots.len() {
            self.begin(slot)?;
        }
        let mut window = Some(window);
        let mut measured: Option<Measured> = None;
        let mut under_way = self.slots.len();
        while under_way > 0 {
            ring::submit_and_wait(&self.ring, PATIENCE)?;
            let now = Instant::now();
            let phase = match &mut window {
                Some(window) => window.phase(now)?,
                None => Phase::Over,
            };
            if let Some(window) = window.take_if(|_| phase == Phase::Over) {
                measured = Some(window.close(now)?);
            }
            // One entry at a time, since handling it queues others on the same ring.
            loop {
                let Some(entry) = self.ring.completion().next() else { break };
                let slot = self.answered(&entry, now, phase == Phase::Counting)?;
                match phase {
                    // What is under way ends as it began; nothing new begins.
                    Phase::Over => under_way -= 1,
                    _ => self.begin(slot)?,
                }
            }
        }
        let measured = measured.expect("connections end only when the window is over");
        let answers = self.slots.iter().map(|slot| slot.answers);
        measured.sample(self.histogram.total() as f64, answers, Latency::of(&self.histogram))
    }

    /// Opens the slot's next connection and sends off all that it will do.
    fn begin(&mut self, index: usize) -> io::Result<()> {
        self.begun += 1;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        choose_port_at_connect(socket.as_raw_fd())?;
        let source = self.begun % SOURCES;
        let source = [127, 1, (source / 250) as u8, 1 + (source % 250) as u8];
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        let stream = TcpStream::from(socket);
        let slot = &mut self.slots[index];
        slot.request[..8].copy_from_slice(&self.begun.to_le_bytes());
        slot.answer.fill(0);
        slot.begun_at = Instant::now();
        let fd = types::Fd(stream.as_raw_fd());
        slot.stream = Some(stream);
        let quiet = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let index = index as u64;
        let connect = opcode::Connect::new(fd, self.server.as_ptr().cast(), self.server.len());
        let send = opcode::Send::new(fd, slot.request.as_ptr(), MESSAGE_SIZE as u32).flags(flags);
        let receive = opcode::Recv::new(fd, slot.answer.as_mut_ptr(), MESSAGE_SIZE as u32)
            .flags(libc::MSG_WAITALL);
        let chain = [
            connect.build().flags(quiet).user_data(CONNECT | index),
            send.build().flags(quiet).user_data(SEND | index),
            receive.build().user_data(RECEIVE | index),
        ];
        // SAFETY: the address and the slot's two buffers are boxed, live until the ring is closed,
        // and are not touched before the receive, which is the last of the chain, has completed.
        unsafe { ring::push_chain(&mut self.ring, &chain) }
    }

    /// Takes an answer, closes its connection, and says whose slot is free.
    fn answered(
        &mut self,
        entry: &cqueue::Entry,
        now: Instant,
        counting: bool,
    ) -> io::Result<usize> {
        let index = entry.user_data() as u32 as usize;
        let step = entry.user_data() & !u64::from(u32::MAX);
        if entry.result() < 0 {
            let error = io::Error::from_raw_os_error(-entry.result());
            let step = match step {
                CONNECT => "connect",
                SEND => "send",
                _ => "receive",
            };
            return Err(io::Error::new(error.kind(), format!("{step}: {error}")));
        }
        let slot = &mut self.slots[index];
        if step != RECEIVE || entry.result() != MESSAGE_SIZE as i32 || slot.answer != slot.request {
            return Err(invalid("an answer that is not what was asked"));
        }
        // Closed here.
        slot.stream = None;
        if counting {
            slot.answers += 1;
            self.histogram.record((now - slot.begun_at).as_nanos() as u64);
        }
        Ok(index)
    }
}
