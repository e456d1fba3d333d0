//! `ringpark proxy`: accepts TCP connections and relays each to one of several upstreams.
//!
//! Every core listens on the same port and serves the connections it accepted from beginning to
//! end. Nothing that one connection does, and nothing that `accept` answers, ends the proxy; only
//! a signal does, in the two steps that `shutdown.rs` describes.

use std::future::IntoFuture;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpStream};
use ringpark::runtime::{Accept, Feature};
use ringpark::shutdown::{Shutdown, Stage};
use ringpark::time::{sleep, timeout};
use ringpark::Builder;
use tracing::{debug, error, info, warn};

use crate::args::{Address, BackendChoice, Limit};
use crate::failure::{cannot_listen, forwards_to_itself, Failure};
use crate::limits::{self, count_of_threads, Room};
use crate::listen::{Addresses, Listen};
use crate::metrics;
use crate::open::Open;
use crate::peer::Peer;
use crate::repeat::{kept_back, Repeat};
use crate::signals::{tell, Watch};
use crate::totals::{Ending, Totals};
use crate::upstreams::Upstreams;

/// After a failed accept: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Relay TCP connections to one or more upstreams.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Accept connections on this address; with port 0 the system chooses one. Not needed, and not
    /// used, where a service manager hands in sockets (LISTEN_FDS)
    #[arg(long, value_name = "ADDR")]
    listen: Option<Address>,

    /// Relay them to this address; given several times, the upstreams take turns
    #[arg(long, value_name = "ADDR", required = true)]
    to: Vec<Address>,

    /// Threads, each with a core of its own [default: as many as the machine has processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Who decides which thread serves a connection: shared-port (the kernel) or by-load (one thread
    /// accepts for all, and gives each connection to the one with the least to do)
    #[arg(long, value_name = "HOW", default_value = "shared-port")]
    accept: Accept,

    /// auto, uring, epoll, kqueue, poll or select; the environment's RINGPARK_BACKEND comes before it
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: BackendChoice,

    /// Give an upstream this long to accept a connection; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "5s")]
    connect_timeout: Limit,

    /// End a connection on which nothing has moved for this long; 0 for never
    #[arg(long, value_name = "TIME", default_value = "60s")]
    idle_timeout: Limit,

    /// Answer requests for /metrics (Prometheus) and /tasks (what every task waits for) here
    #[arg(long, value_name = "ADDR")]
    metrics: Option<Address>,

    /// Log which task holds its thread for longer than this, and where; 0 for never
    #[arg(long, value_name = "TIME", default_value = "0")]
    stall_limit: Limit,

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
    let listen = Listen::open(args.listen.as_ref())?;
    let addresses = Addresses(listen.addresses()?);
    for addr in &addresses.0 {
        if args.to.contains(&Address::Fixed(*addr)) {
            return Err(forwards_to_itself(*addr));
        }
    }
    let mut builder = Builder::new().cores(cores).accept(args.accept);
    if let BackendChoice(Some(backend)) = args.backend {
        builder = builder.backend(backend);
    }
    if !room.accept_ahead {
        builder = builder.without(Feature::MultishotAccept);
    }
    if let Some(limit) = args.stall_limit.0 {
        builder = builder.stall_limit(limit);
    }
    let watch = Watch::start()?;
    let proxy = Arc::new(Proxy::new(args, cores, listen, addresses, room, watch));
    let on_each_core = {
        let proxy = proxy.clone();
        move || core(proxy.clone())
    };
    let result = builder.run(on_each_core);
    if proxy.has_listened() {
        info!("stopped; {}", proxy.totals);
    }
    Ok(result?)
}

/// What all cores share.
struct Proxy {
    listen: Listen,
    addresses: Addresses,
    upstreams: Upstreams,
    idle_timeout: Option<Duration>,
    grace: Option<Duration>,
    metrics: Option<Address>,
    shutdown: Shutdown,
    /// Taken by the core that comes first.
    watch: Mutex<Option<Watch>>,
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
    fn new(
        args: Args,
        cores: usize,
        listen: Listen,
        addresses: Addresses,
        room: Room,
        watch: Watch,
    ) -> Proxy {
        Proxy {
            listen,
            addresses,
            upstreams: Upstreams::new(args.to, args.connect_timeout.0),
            idle_timeout: args.idle_timeout.0,
            grace: args.grace.0,
            metrics: args.metrics,
            shutdown: Shutdown::new(),
            watch: Mutex::new(Some(watch)),
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
            info!("listening on {} with {threads}", self.addresses);
            tell("READY=1");
        }
    }

    /// One core has closed its listener. The last one says so for all: from then on the port
    /// refuses.
    fn core_listens_no_more(&self) {
        if self.cores_done_listening.fetch_add(1, Ordering::AcqRel) + 1 == self.cores {
            info!("no longer listening on {}", self.addresses);
        }
    }

    fn has_listened(&self) -> bool {
        self.cores_listening.load(Ordering::Acquire) == self.cores
    }
}

/// One core's life: listen, serve, and at the end see its connections out.
async fn core(proxy: Arc<Proxy>) -> io::Result<()> {
    let watch = proxy.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(watch) = watch {
        ringpark::spawn(watch.obey(proxy.shutdown.clone()));
        if let Some(address) = &proxy.metrics {
            let listener = TcpListener::bind(address.to_string()).await;
            let listener = listener.map_err(|err| cannot_listen(address, &err))?;
            info!("metrics on {}", listener.local_addr()?);
            let proxy = proxy.clone();
            ringpark::spawn(metrics::serve(listener, move || metrics::of(&proxy.totals)));
        }
    }
    let listeners = proxy.listen.listeners().await?;
    for listener in &listeners {
        // For all their connections, which inherit it.
        listener.set_nodelay(true)?;
    }
    // Until all that was let in is served, so that no core ends before another has gone so far.
    let letting_in = proxy.shutdown.guard();
    proxy.core_listens();
    let open = Rc::new(Open::default());
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let (proxy, open) = (proxy.clone(), open.clone());
            ringpark::spawn(async move {
                accept_until_stopped(&proxy, &listener, &open).await;
                let_in(&proxy, &listener, &open).await;
                listener.close().await
            })
        })
        .collect();
    for accepting in accepting {
        accepting.await??;
    }
    proxy.core_listens_no_more();
    drop(letting_in);
    see_out(&proxy).await;
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
            proxy.shutdown.run_until(Stage::Stopping, room).await;
            continue;
        }
        match proxy.shutdown.run_until(Stage::Stopping, listener.accept_stream()).await {
            None => break,
            Some(Ok(client)) => start(proxy, open, client),
            Some(Err(err)) => {
                if let Some(count) = proxy.accept_trouble.due(Instant::now()) {
                    warn!("cannot accept a connection: {err}{}", kept_back(count));
                }
                proxy.shutdown.run_until(Stage::Stopping, sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

/// Serves those whom the kernel had let in when accepting stopped: to them the connection is open.
async fn let_in(proxy: &Arc<Proxy>, listener: &TcpListener, open: &Rc<Open>) {
    if let Err(err) = listener.stop().await {
        warn!("cannot stop listening in order: {err}");
        return;
    }
    while let Ok(client) = listener.accept_stream().await {
        start(proxy, open, client);
    }
}

/// Serves a connection in a task of its own.
fn start(proxy: &Arc<Proxy>, open: &Rc<Open>, client: TcpStream) {
    let (proxy, guards) = (proxy.clone(), (open.enter(), proxy.shutdown.guard()));
    drop(ringpark::spawn(async move {
        serve(&proxy, client).await;
        drop(guards);
    }));
}

/// Lets the connections finish within the grace period, then cuts those that have not.
async fn see_out(proxy: &Proxy) {
    let shutdown = &proxy.shutdown;
    if let Some(grace) = proxy.grace {
        let finished = shutdown.run_until(Stage::Cut, shutdown.wait_idle());
        if timeout(grace, finished).await.is_err() {
            let open = shutdown.open_count();
            if shutdown.cut() {
                info!("the grace period is over with {open} connections open");
            }
        }
    }
    let report = shutdown.finish(None).await;
    if report.left > 0 {
        error!("{} connections did not end when they were cut", report.left);
    }
}

async fn serve(proxy: &Proxy, client: TcpStream) {
    let peer = Peer::for_debug(&client);
    let Some(connected) = proxy.shutdown.run_until(Stage::Cut, proxy.upstreams.connect()).await
    else {
        proxy.totals.cut_unconnected();
        return;
    };
    let Some(server) = connected else {
        proxy.totals.refused();
        if let Some(count) = proxy.upstream_trouble.due(Instant::now()) {
            let peer = Peer::of(&client);
            warn!("no upstream works, so {peer} was sent away{}", kept_back(count));
        }
        return;
    };
    if let Err(err) = server.set_nodelay(true) {
        // The upstream may have gone already; the relay will find out.
        debug!("{peer}: cannot set TCP_NODELAY: {err}");
    }
    let (ending, bytes) = relay(proxy, &client, &server, &peer).await;
    debug!("{peer}: {ending:?}, {} bytes in, {} bytes out", bytes.a_to_b, bytes.b_to_a);
    proxy.totals.ended(ending, bytes);
}

async fn relay(
    proxy: &Proxy,
    client: &TcpStream,
    server: &TcpStream,
    peer: &Peer,
) -> (Ending, ringpark::io::Transferred) {
    let mut relay = ringpark::io::relay(client, server);
    if let Some(idle) = proxy.idle_timeout {
        relay = relay.idle_timeout(idle);
    }
    let mut relay = pin!(relay.into_future());
    let (result, cut) = match proxy.shutdown.run_until(Stage::Cut, relay.as_mut()).await {
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
