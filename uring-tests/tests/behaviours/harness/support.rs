//! What the tests share: pairs of sockets, looks at the state of a future, bounded waits.

use std::fmt::Debug;
use std::future::{poll_fn, Future};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpStream};
use ringpark::time::sleep;
use ringpark::Closed;

use super::sys;

/// Any free port on the loopback interface.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A minute and an hour: longer than any trial.
pub const HOUR: Duration = Duration::from_secs(3600);

/// A bound for what must happen at once: wide, since the machine is shared.
pub const PROMPT: Duration = Duration::from_secs(2);

/// Milliseconds.
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A moment that has passed.
pub fn past() -> Instant {
    Instant::now() - ms(1)
}

/// Any free port of an address of this trial's own. Trials that make connections by the ten thousand
/// leave their ports in TIME_WAIT for a minute, and there are 28,000: with one address for all, the
/// trials after them found none to listen on.
fn any_of_our_own() -> SocketAddr {
    if !cfg!(target_os = "linux") {
        // Only there is the whole network of loopback this machine's.
        return ANY;
    }
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let ours = Ipv4Addr::new(127, 1 + high % 254, middle, low);
    SocketAddr::new(ours.into(), 0)
}

/// So many, or as many as the limit of descriptors has room for if each takes this many.
pub fn affordable(wanted: u64, each: u64) -> u64 {
    /// What a trial has open beside those: rings, pipes, listeners.
    const OTHERS: u64 = 100;
    wanted.min(sys::descriptor_limit().saturating_sub(OTHERS) / each)
}

/// A connection, both ends plain.
pub fn std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(any_of_our_own()).expect("a listener on loopback");
    let address = listener.local_addr().expect("the listener is bound");
    let one = std::net::TcpStream::connect(address).expect("a connection on loopback");
    let (other, _) = listener.accept().expect("the connection waits");
    for stream in [&one, &other] {
        stream.set_nodelay(true).expect("the option is known");
    }
    (one, other)
}

/// A connection, one end ours and the other plain; the plain one never waits for ever.
pub fn half() -> (TcpStream, std::net::TcpStream) {
    let (ours, plain) = std_pair();
    plain.set_read_timeout(Some(Duration::from_secs(30))).expect("the option is known");
    plain.set_write_timeout(Some(Duration::from_secs(30))).expect("the option is known");
    (TcpStream::from_std(ours).expect("a stream can join"), plain)
}

/// A connection, both ends ours.
pub fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = std_pair();
    let join = |stream| TcpStream::from_std(stream).expect("a stream can join");
    (join(one), join(other))
}

/// A listener on any port, with its address.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(ANY).await.expect("a listener on loopback");
    let address = listener.local_addr().expect("the listener is bound");
    (listener, address)
}

/// A port that is taken, so that nobody else listens there, and where nobody listens.
pub fn closed_port() -> (socket2::Socket, SocketAddr) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&ANY.into()).expect("a port on loopback");
    let address = socket.local_addr().expect("the socket is bound");
    (socket, address.as_socket().expect("an IP address"))
}

/// A listener whose backlog is full, so that a connection to it neither succeeds nor fails.
pub struct StuckListener {
    /// Where to connect to.
    pub address: SocketAddr,
    listener: socket2::Socket,
    fillers: Vec<std::net::TcpStream>,
}

impl StuckListener {
    /// Makes one and fills it.
    pub fn new() -> StuckListener {
        let (listener, address) = closed_port();
        listener.listen(0).expect("the socket can listen");
        let mut fillers = Vec::new();
        while let Ok(filler) = std::net::TcpStream::connect_timeout(&address, ms(100)) {
            fillers.push(filler);
            assert!(fillers.len() < 16, "a backlog of nothing takes no end of connections");
        }
        StuckListener { address, listener, fillers }
    }

    /// Lets the connections that wait in: from now on connecting works again.
    pub fn unstick(&mut self) {
        for _ in self.fillers.drain(..) {
            drop(self.listener.accept().expect("a filler waits"));
        }
    }
}

/// Polls a future once, with the waker of the task that asks.
pub async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls a future once; it must not be ready.
pub async fn start<F: Future + ?Sized>(future: Pin<&mut F>)
where
    F::Output: Debug,
{
    match poll_once(future).await {
        Poll::Pending => {}
        Poll::Ready(output) => panic!("ready at once: {output:?}"),
    }
}

/// Waits until something is true, for at most twenty seconds.
pub async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(
            Instant::now() < end,
            "in vain: waiting until {what}; {:?}",
            ringpark::runtime::metrics()
        );
        sleep(ms(1)).await;
    }
}

/// Waits, without the runtime, until this many bytes can be read from a socket.
pub fn wait_buffered(fd: &impl AsRawFd, count: usize) {
    let end = Instant::now() + Duration::from_secs(20);
    while sys::readable_bytes(fd) < count {
        assert!(Instant::now() < end, "the bytes do not arrive");
        std::thread::yield_now();
    }
}

/// The result must be a time-out.
#[track_caller]
pub fn assert_timed_out<T: Debug>(result: io::Result<T>) {
    let error = result.expect_err("a deadline has expired");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
}

/// The result must be the typed error of a closed handle.
#[track_caller]
pub fn assert_closed<T: Debug>(result: io::Result<T>) {
    let error = result.expect_err("the handle is closed");
    assert!(Closed::is(&error), "not Closed but {error:?}");
}

/// The result must be an error of this kind.
#[track_caller]
pub fn assert_kind<T: Debug>(result: io::Result<T>, kind: io::ErrorKind) {
    let error = result.expect_err("this cannot work");
    assert_eq!(error.kind(), kind, "{error:?}");
}

/// Reads until the end of the stream.
pub async fn read_to_end(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(lease) = stream.recv().await? {
        all.extend_from_slice(&lease);
    }
    Ok(all)
}

/// Reads a plain stream to its end, on a thread, so that the core can go on meanwhile.
pub async fn plain_to_end(mut plain: std::net::TcpStream) -> Vec<u8> {
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        io::Read::read_to_end(&mut plain, &mut all).expect("a clean end");
        all
    });
    until("the peer sees the end", || reader.is_finished()).await;
    reader.join().expect("a clean end")
}

/// Sends bytes, all of them.
pub async fn send(stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes.to_vec()).await.0.expect("the peer reads");
}

/// Reads exactly so many bytes.
pub async fn receive(stream: &TcpStream, count: usize) -> Vec<u8> {
    let (result, bytes) = stream.read_exact(Vec::with_capacity(count)).await;
    result.expect("the peer sends");
    assert_eq!(bytes.len(), count);
    bytes
}

/// Runs a future, which must end promptly.
pub async fn promptly<F: Future>(what: &str, future: F) -> F::Output {
    match ringpark::time::timeout(Duration::from_secs(20), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: no end; {:?}", ringpark::runtime::metrics()),
    }
}
