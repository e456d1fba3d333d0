//! The readiness floor: a hand-written, edge-triggered epoll loop with nothing in it but the work.
//!
//! All connections share one buffer, since bytes that were read are written at once. What cannot be
//! written waits in its lane, and the lane reads no more until it is gone. For relays there is a
//! second form that moves bytes through a pipe by splice(2), without copying them at all.
//!
//! A lane is one direction. An echo has one, from a connection to itself; a relay has two.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use super::{listen, raw_wake, unfit, Announce, Contestant, Order};
use crate::load::Sample;
use crate::workload::{Service, Shape};

const BUFFER_SIZE: usize = 64 * 1024;
const PIPE_SIZE: usize = 1024 * 1024;
const EVENTS: usize = 1024;
/// The listener's event data; all others are the index of a lane that reads from the descriptor.
const LISTENER: u64 = u64::MAX;

/// See the file's head.
pub(super) struct RawEpoll {
    name: &'static str,
    about: &'static str,
    splice: bool,
}

impl RawEpoll {
    pub(super) const COPY: Self = Self {
        name: "raw-epoll",
        about: "hand-written: edge-triggered, one shared buffer of 64 KiB, read and write",
        splice: false,
    };
    pub(super) const SPLICE: Self = Self {
        name: "raw-splice",
        about: "hand-written: edge-triggered, splice(2) through a pipe of 1 MiB a direction",
        splice: true,
    };
}

impl Contestant for RawEpoll {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, shape: Shape) -> bool {
        match shape.service() {
            Service::Relay => true,
            Service::Echo | Service::Wake => !self.splice,
            Service::EchoOnAll | Service::Timers => false,
        }
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let origin = match *order {
            Order::Echo if !self.splice => None,
            Order::Relay { origin, .. } => Some(origin),
            _ => return Err(unfit(self.name, order)),
        };
        let listener = listen()?;
        announce(listener.local_addr()?)?;
        Loop::new(listener, origin, self.splice)?.run()
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        raw_wake::epoll(order)
    }
}

/// One direction.
struct Lane {
    source: Rc<TcpStream>,
    target: Rc<TcpStream>,
    waiting: Waiting,
    /// The lane that writes to this one's source: its own index for an echo.
    reverse: usize,
    /// Whether both ends still work.
    open: bool,
    /// Whether the source was said to have ended: there is no edge after this one.
    ended: bool,
}

/// Bytes on their way that the target did not take yet.
enum Waiting {
    Copied(Vec<u8>),
    Piped(Pipe),
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    len: usize,
}

struct Loop {
    epoll: OwnedFd,
    listener: TcpListener,
    origin: Option<SocketAddr>,
    splice: bool,
    /// A lane that ended is `None` if it was an echo's, and stays if it was a relay's.
    lanes: Vec<Option<Lane>>,
    free: Vec<usize>,
    buffer: Box<[u8]>,
}

impl Loop {
    fn new(listener: TcpListener, origin: Option<SocketAddr>, splice: bool) -> io::Result<Self> {
        // SAFETY: a plain system call.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel gave this descriptor to us, once.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        listener.set_nonblocking(true)?;
        let buffer = vec![0; BUFFER_SIZE].into_boxed_slice();
        let this = Self { epoll, listener, origin, splice, lanes: vec![], free: vec![], buffer };
        this.watch(this.listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
        Ok(this)
    }

    fn watch(&self, fd: RawFd, interest: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: data };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: the event outlives the call.
        checked(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        loop {
            let epoll = self.epoll.as_raw_fd();
            // SAFETY: room for EVENTS events, which outlive the call.
            let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
            let count = match checked(count) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count? as usize,
            };
            for event in &events[..count] {
                let (data, ready) = (event.u64, event.events as i32);
                if data == LISTENER {
                    self.accept()?;
                    continue;
                }
                let index = data as usize;
                // Of a connection that was closed just now.
                let Some(lane) = &mut self.lanes[index] else { continue };
                lane.ended |= ready & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0;
                if ready & libc::EPOLLOUT != 0 {
                    // The descriptor that this lane reads from is the reverse lane's target.
                    let reverse = lane.reverse;
                    if self.lanes[reverse].as_ref().is_some_and(Lane::holds) {
                        self.advance(reverse);
                    }
                }
                if ready & !libc::EPOLLOUT != 0 {
                    self.advance(index);
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (fd, flags) = (self.listener.as_raw_fd(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
            let (null, none) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: a plain system call; null pointers ask for no address.
            let client = match checked(unsafe { libc::accept4(fd, null, none, flags) }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                client => client?,
            };
            // SAFETY: the kernel gave this descriptor to us, once.
            let client = Rc::new(unsafe { TcpStream::from_raw_fd(client) });
            let Some(origin) = self.origin else {
                let lane = self.free.pop().unwrap_or(self.lanes.len());
                self.open(client.clone(), client, lane, lane)?;
                continue;
            };
            let first = self.lanes.len();
            // Blocking, but on loopback, and before anything is measured.
            let server = Rc::new(TcpStream::connect(origin)?);
            server.set_nodelay(true)?;
            server.set_nonblocking(true)?;
            self.open(client.clone(), server.clone(), first, first + 1)?;
            self.open(server, client, first + 1, first)?;
        }
    }

    fn open(
        &mut self,
        source: Rc<TcpStream>,
        target: Rc<TcpStream>,
        index: usize,
        reverse: usize,
    ) -> io::Result<()> {
        let fd = source.as_raw_fd();
        let waiting = match self.splice {
            true => Waiting::Piped(Pipe::new()?),
            false => Waiting::Copied(Vec::new()),
        };
        if index == self.lanes.len() {
            self.lanes.push(None);
        }
        let (open, ended) = (true, false);
        self.lanes[index] = Some(Lane { source, target, waiting, reverse, open, ended });
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.watch(fd, interest, index as u64)
    }

    /// Moves what can be moved. A lane whose end is gone moves nothing any more.
    fn advance(&mut self, index: usize) {
        let Some(lane) = self.lanes[index].as_mut().filter(|lane| lane.open) else { return };
        let moved = match &mut lane.waiting {
            Waiting::Copied(left) => {
                copy(&lane.source, &lane.target, left, &mut self.buffer, lane.ended)
            }
            Waiting::Piped(pipe) => pipe.pump(lane.source.as_raw_fd(), lane.target.as_raw_fd()),
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The end of the stream, or a peer that is gone: the load has finished.
            Ok(()) | Err(_) if lane.reverse != index => lane.open = false,
            Ok(()) | Err(_) => {
                // Both shares of the stream go, which closes it.
                self.lanes[index] = None;
                self.free.push(index);
            }
        }
    }
}

impl Lane {
    fn holds(&self) -> bool {
        match &self.waiting {
            Waiting::Copied(left) => !left.is_empty(),
            Waiting::Piped(pipe) => pipe.len > 0,
        }
    }
}

/// Reads and writes until one of them would block, which is an error like in std, or until the
/// source's end.
fn copy(
    mut source: &TcpStream,
    mut target: &TcpStream,
    left: &mut Vec<u8>,
    buffer: &mut [u8],
    ended: bool,
) -> io::Result<()> {
    while !left.is_empty() {
        let written = target.write(left)?;
        left.drain(..written);
    }
    loop {
        let count = source.read(buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            match target.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => {
                    left.extend_from_slice(bytes);
                    return Err(error);
                }
            }
        }
        if count < buffer.len() && !ended {
            // The socket was read empty, and new bytes make a new edge: no second read to be told.
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let mut fds = [0; 2];
        // SAFETY: room for two descriptors, which outlives the call.
        checked(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        // SAFETY: the kernel gave these descriptors to us, once.
        let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: a plain system call. A refusal leaves the default size, which works as well.
        unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_SIZE as i32) };
        Ok(Self { read, write, len: 0 })
    }

    /// Splices in and out until one of them would block or the source has ended.
    fn pump(&mut self, source: RawFd, target: RawFd) -> io::Result<()> {
        loop {
            while self.len > 0 {
                self.len -= splice(self.read.as_raw_fd(), target, self.len)?;
            }
            match splice(source, self.write.as_raw_fd(), PIPE_SIZE)? {
                0 => return Ok(()),
                count => self.len = count,
            }
        }
    }
}

fn splice(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let (none_in, none_out) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: a plain system call; null offsets are what pipes and sockets want.
    let moved = unsafe { libc::splice(from, none_in, to, none_out, len, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

fn checked(answer: i32) -> io::Result<i32> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}
