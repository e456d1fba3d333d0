//! A chat server: what one client writes, all others read, line by line.
//!
//! Tasks on one core share plain `Rc` and `RefCell`; no lock, no channel crate. Each client has a
//! task that reads its lines and one that empties its mailbox. A mailbox is bounded: a client that
//! reads too slowly is sent away, and the others never wait for it.
//!
//! ```text
//! cargo run --example chat -- 127.0.0.1:7000
//! nc 127.0.0.1 7000
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::env;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringpark::net::{TcpListener, TcpStream};

/// Lines that may wait for a client before it counts as too slow.
const MAILBOX_LINES_MAX: usize = 1000;
/// The longest line a client may write.
const LINE_BYTES_MAX: usize = 4096;
/// How long a client that has said its last may take to read its own last lines.
const FAREWELL: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let addr = match args.as_slice() {
        [addr] => addr.parse::<SocketAddr>().ok(),
        _ => None,
    };
    let Some(addr) = addr else {
        eprintln!("chat: name the address to listen on; usage: chat 127.0.0.1:7000");
        return ExitCode::from(2);
    };
    match ringpark::block_on(serve(addr)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("chat: {err}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let room = Rc::new(Room::default());
    loop {
        let (stream, peer) = listener.accept().await?;
        let room = room.clone();
        ringpark::spawn(async move {
            let ending = visit(&room, stream).await;
            eprintln!("{peer}: {}", ending.map_or_else(|err| err.to_string(), |()| "left".into()));
        });
    }
}

/// One client, from its first line to its last.
async fn visit(room: &Room, stream: TcpStream) -> io::Result<()> {
    let client = Rc::new(Client::new(stream));
    let id = room.enter(client.clone());
    let writer = ringpark::spawn(deliver(client.clone()));
    room.tell(id, format!("* {id} came\n"));
    let ending = listen(room, id, &client.stream).await;
    room.leave(id);
    room.tell(id, format!("* {id} left\n"));
    // What is still in the mailbox goes out, if that does not take too long.
    client.stream.set_write_deadline(Some(Instant::now() + FAREWELL));
    client.close_mailbox();
    let delivered = writer.await.map_err(io::Error::other)?;
    ending.and(delivered)
}

/// Passes each line that the client writes to all others.
async fn listen(room: &Room, id: u64, stream: &TcpStream) -> io::Result<()> {
    let mut unfinished = Vec::new();
    while let Some(lease) = stream.recv().await? {
        unfinished.extend_from_slice(&lease);
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unfinished.drain(..=end).collect();
            room.tell(id, format!("{id}: {}", String::from_utf8_lossy(&line)));
        }
        if unfinished.len() > LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "wrote too long a line"));
        }
        // Those who deliver take their turn before the next piece is read.
        ringpark::yield_now().await;
    }
    Ok(())
}

/// Empties the mailbox into the socket until the mailbox is closed. All lines that wait go out in one
/// operation, so that a client which reads as fast as others write is never too slow.
async fn deliver(client: Rc<Client>) -> io::Result<()> {
    while let Some(lines) = client.next_lines().await {
        client.stream.write_vectored_all(lines).await.0?;
    }
    Ok(())
}

/// Everybody who is here.
#[derive(Default)]
struct Room {
    clients: RefCell<BTreeMap<u64, Rc<Client>>>,
    last_id: Cell<u64>,
}

impl Room {
    fn enter(&self, client: Rc<Client>) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.clients.borrow_mut().insert(id, client);
        id
    }

    fn leave(&self, id: u64) {
        self.clients.borrow_mut().remove(&id);
    }

    /// Puts a line into every mailbox but the author's. All of them share its bytes.
    fn tell(&self, author: u64, line: String) {
        let line = Bytes::from(line);
        for (_, client) in self.clients.borrow().iter().filter(|(id, _)| **id != author) {
            client.put(line.clone());
        }
    }
}

/// One client and its mailbox: the lines that are on their way to it.
struct Client {
    stream: TcpStream,
    lines: RefCell<Vec<Bytes>>,
    closed: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        let (lines, closed, waiter) = Default::default();
        Client { stream, lines, closed, waiter }
    }

    /// Adds a line. Where the mailbox is full, a deadline in the past ends what the client's two
    /// tasks wait for, and with it the visit.
    fn put(&self, line: Bytes) {
        let mut lines = self.lines.borrow_mut();
        if lines.len() == MAILBOX_LINES_MAX {
            return self.stream.set_deadline(Some(Instant::now()));
        }
        lines.push(line);
        self.wake();
    }

    /// No more lines; those inside can still be taken out.
    fn close_mailbox(&self) {
        self.closed.set(true);
        self.wake();
    }

    /// The lines that wait; `None` when the mailbox is closed and empty.
    async fn next_lines(&self) -> Option<Vec<Bytes>> {
        poll_fn(|cx| {
            let lines = mem::take(&mut *self.lines.borrow_mut());
            if !lines.is_empty() {
                return Poll::Ready(Some(lines));
            }
            if self.closed.get() {
                return Poll::Ready(None);
            }
            self.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = self.waiter.take() {
            waker.wake();
        }
    }
}
