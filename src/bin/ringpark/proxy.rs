//! `ringpark proxy`: accepts TCP connections and relays each to one of several upstreams.
//!
//! Every core listens on the same port and serves the connections it accepted from beginning to
//! end. Nothing that one connection does, and nothing that `accept` answers, ends the proxy; only
//! a signal does, in the two steps that `shutdown.rs` describes.

use std::future::IntoFuture;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpStream};
use ringpark::time::{sleep, timeout};
use ringpark::{Builder, Feature};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, error, info, warn};

use crate::args::{Address, BackendChoice, Limit};
use crate::failure::{cannot_listen, forwards_to_itself, Failure};
use crate::limits::{self, count_of_threads, Room};
use crate::open::Open;
use crate::repeat::{kept_back, Repeat};
use crate::shutdown::{Shutdown, Stage};
use crate::signals::Watch;
use crate::totals::{Ending, Totals};
use crate::upstreams::Upstreams;

/// After a failed accept: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections that are cut may take to notice it.
const CUT_BOUND: Duration = Duration::from_secs(5);

/// Relay TCP connections to one or more upstreams.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Accept connections on this address; with port 0 the system chooses one
    #[arg(long, value_name = "ADDR")]
    listen: Address,

    /// Relay them to this address; given several times, the upstreams take turns
    #[arg(long, value_name = "ADDR", required = true)]
    to: Vec<Address>,

    /// Threads, each with a core of its own [default: as many as the machine has processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// auto, uring, epoll or poll; the environment's RINGPARK_BACKEND comes before it
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: BackendChoice,

    /// Give an upstream this long to accept a connection; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "5s")]
    connect_timeout: Limit,

    /// End a connection on which nothing has moved for this long; 0 for never
    #[arg(long, value_name = "TIME", default_value = "60s")]
    idle_timeout: Limit,

    /// After SIGINT or SIGTERM, let open connections go on for this long; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "10s")]
    grace: Limit,
}

/// Runs the proxy until a signal ends it.
pub fn run(args: Args) -> Result<(), Failure> {
    let cores = match args.threads {
        Some(threads) => usize::from(threads),
        None => available_parallelism()?.get(),
    };
    let room = limits::raise(cores)?;
    let reservation = reserve(&args.listen)?;
    let listen = address_of(&reservation)?;
    if args.to.contains(&Address::Fixed(listen)) {
        return Err(forwards_to_itself(listen));
    }
    let mut builder = Builder::new().cores(cores);
    if let BackendChoice(Some(backend)) = args.backend {
        builder = builder.backend(backend);
    }
    if !room.accept_ahead {
        builder = builder.without(Feature::MultishotAccept);
    }
    let proxy = Arc::new(Proxy::new(args, cores, listen, room));
    let signals = Watch::start(proxy.shutdown.clone())?;
    let on_each_core = {
        let proxy = proxy.clone();
        move || core(proxy.clone())
    };
    let result = builder.run(on_each_core);
    signals.stop();
    drop(reservation);
    if proxy.has_listened() {
        info!("stopped; {}", proxy.totals);
    }
    Ok(result?)
}

/// What all cores share.
struct Proxy {
    listen: SocketAddr,
    upstreams: Upstreams,
    idle_timeout: Option<Duration>,
    grace: Option<Duration>,
    shutdown: Arc<Shutdown>,
    totals: Totals,
    cores: usize,
    connections_per_core_max: usize,
    cores_listening: AtomicUsize,
    cores_done_listening: AtomicUsize,
    room_trouble: Repeat,
    accept_trouble: Repeat,
    upstream_trouble: Repeat,
}

impl Proxy {
    fn new(args: Args, cores: usize, listen: SocketAddr, room: Room) -> Proxy {
        Proxy {
            listen,
            upstreams: Upstreams::new(args.to, args.connect_timeout.0),
            idle_timeout: args.idle_timeout.0,
            grace: args.grace.0,
            shutdown: Arc::default(),
            totals: Totals::default(),
            cores,
            connections_per_core_max: room.per_core,
            cores_listening: AtomicUsize::new(0),
            cores_done_listening: AtomicUsize::new(0),
            room_trouble: Repeat::default(),
            accept_trouble: Repeat::default(),
            upstream_trouble: Repeat::default(),
        }
    }

    /// One more core listens. The last one says so for all: from then on nobody is refused.
    fn core_listens(&self) {
        if self.cores_listening.fetch_add(1, Ordering::AcqRel) + 1 == self.cores {
            let threads = count_of_threads(self.cores);
            info!("listening on {} with {threads}", self.listen);
        }
    }

    /// One core has closed its listener. The last one says so for all: from then on the port
    /// refuses.
    fn core_listens_no_more(&self) {
        if self.cores_done_listening.fetch_add(1, Ordering::AcqRel) + 1 == self.cores {
            info!("no longer listening on {}", self.listen);
        }
    }

    fn has_listened(&self) -> bool {
        self.cores_listening.load(Ordering::Acquire) == self.cores
    }
}

/// Takes the port before the cores start: without SO_REUSEPORT, so that a port somebody else
/// listens on is an error although the cores will share theirs; then with it, so that they can.
/// This socket never listens. It keeps the port, and with port 0 it has chosen one for all cores.
fn reserve(address: &Address) -> Result<Socket, Failure> {
    let addr = match address {
        Address::Fixed(addr) => *addr,
        Address::Named(name) => name
            .to_socket_addrs()
            .map_err(|err| cannot_listen(name, &err))?
            .next()
            .ok_or_else(|| cannot_listen(name, &io::ErrorKind::AddrNotAvailable.into()))?,
    };
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.set_reuse_port(true)?;
        Ok(socket)
    };
    bind().map_err(|err| cannot_listen(addr, &err).into())
}

fn address_of(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::other("the listening socket has no IP address"))
}

/// One core's life: listen, serve, and at the end see its connections out.
async fn core(proxy: Arc<Proxy>) -> io::Result<()> {
    let listener =
        TcpListener::bind(proxy.listen).await.map_err(|err| cannot_listen(proxy.listen, &err))?;
    proxy.core_listens();
    let open = Rc::new(Open::default());
    accept_until_stopped(&proxy, &listener, &open).await;
    listener.close().await?;
    proxy.core_listens_no_more();
    see_out(&proxy, &open).await;
    Ok(())
}

async fn accept_until_stopped(proxy: &Arc<Proxy>, listener: &TcpListener, open: &Rc<Open>) {
    while proxy.shutdown.stage() == Stage::Running {
        if open.count() == proxy.connections_per_core_max {
            if let Some(count) = proxy.room_trouble.due(Instant::now()) {
                let tail = kept_back(count);
                warn!(
                    "a thread has {} connections, as many as the descriptor limit lets it have; \
                       new ones wait{tail}",
                    open.count()
                );
            }
            let room = open.fewer_than(proxy.connections_per_core_max);
            proxy.shutdown.unless(Stage::Stopping, room).await;
            continue;
        }
        match proxy.shutdown.unless(Stage::Stopping, listener.accept()).await {
            None => break,
            Some(Ok((client, peer))) => {
                let (proxy, guard) = (proxy.clone(), open.enter());
                drop(ringpark::spawn(async move {
                    serve(&proxy, client, peer).await;
                    drop(guard);
                }));
            }
            Some(Err(err)) => {
                if let Some(count) = proxy.accept_trouble.due(Instant::now()) {
                    warn!("cannot accept a connection: {err}{}", kept_back(count));
                }
                proxy.shutdown.unless(Stage::Stopping, sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

/// Lets the connections finish within the grace period, then cuts those that have not.
async fn see_out(proxy: &Proxy, open: &Open) {
    let finished = proxy.shutdown.unless(Stage::Cut, open.none_left());
    match proxy.grace {
        None => drop(finished.await),
        Some(grace) => {
            if timeout(grace, finished).await.is_err() {
                info!("the grace period is over with {} connections open", open.count());
            }
        }
    }
    if open.count() == 0 {
        return;
    }
    proxy.shutdown.advance(Stage::Cut);
    if timeout(CUT_BOUND, open.none_left()).await.is_err() {
        error!("{} connections did not end when they were cut", open.count());
    }
}

async fn serve(proxy: &Proxy, client: TcpStream, peer: SocketAddr) {
    let Some(connected) = proxy.shutdown.unless(Stage::Cut, proxy.upstreams.connect()).await else {
        proxy.totals.cut_unconnected();
        return;
    };
    let Some(server) = connected else {
        proxy.totals.refused();
        if let Some(count) = proxy.upstream_trouble.due(Instant::now()) {
            warn!("no upstream works, so {peer} was sent away{}", kept_back(count));
        }
        return;
    };
    for stream in [&client, &server] {
        if let Err(err) = stream.set_nodelay(true) {
            // The peer may have gone already; the relay will find out.
            debug!("{peer}: cannot set TCP_NODELAY: {err}");
        }
    }
    let (ending, bytes) = relay(proxy, &client, &server, peer).await;
    debug!("{peer}: {ending:?}, {} bytes in, {} bytes out", bytes.a_to_b, bytes.b_to_a);
    proxy.totals.ended(ending, bytes);
}

async fn relay(
    proxy: &Proxy,
    client: &TcpStream,
    server: &TcpStream,
    peer: SocketAddr,
) -> (Ending, ringpark::io::Transferred) {
    let mut relay = ringpark::io::relay(client, server);
    if let Some(idle) = proxy.idle_timeout {
        relay = relay.idle_timeout(idle);
    }
    let mut relay = pin!(relay.into_future());
    let (result, cut) = match proxy.shutdown.unless(Stage::Cut, relay.as_mut()).await {
        Some(result) => (result, false),
        None => {
            // A deadline in the past ends the relay's own operations, and it still reports what
            // it has moved.
            let now = Instant::now();
            client.set_deadline(Some(now));
            server.set_deadline(Some(now));
            (relay.await, true)
        }
    };
    match result {
        Ok(bytes) => (Ending::Whole, bytes),
        Err(err) if cut => (Ending::Cut, err.transferred),
        Err(err) => {
            debug!("{peer}: {err}");
            (Ending::Broken, err.transferred)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_listens_on_cannot_be_reserved() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let said = reserve(&Address::Fixed(addr)).unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("cannot listen on {addr}: address already in")),
            "{said}"
        );
    }

    #[test]
    fn a_reserved_port_can_be_listened_on_by_sockets_that_share_it() {
        let reservation = reserve(&Address::Fixed(([127, 0, 0, 1], 0).into())).unwrap();
        let addr = address_of(&reservation).unwrap();
        for shared in [true, false] {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.set_reuse_port(shared).unwrap();
            socket.bind(&addr.into()).unwrap();
            socket.listen(16).unwrap();
        }
    }
}
