//! ringpark itself, on each of its backends. Its epoll backend is the baseline: the same library,
//! the same server, with readiness instead of completions.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringpark::io::RelayPath;
use ringpark::net::{TcpListener, TcpStream};
use ringpark::{Backend, Builder};

use super::{listen, movable, timers, unfit, wake, Announce, Contestant, Order};
use crate::load::Sample;
use crate::workload::{Service, Shape, MESSAGE_SIZE};

/// ringpark on one backend, on one core.
pub(super) struct Ringpark {
    name: &'static str,
    about: &'static str,
    backend: Backend,
    /// How long it looks for work before it sleeps, if that is not the library's choice.
    spin: Option<Duration>,
    /// Whether other threads can read its counters.
    watched: bool,
    /// The path of relays.
    path: RelayPath,
}

impl Ringpark {
    pub(super) const URING: Self = Self {
        name: "ringpark-uring",
        about:
            "io_uring; echo sends the lease it received, relay is ringpark::io::relay; on all CPUs \
                connections are handed over",
        backend: Backend::Uring,
        spin: None,
        watched: true,
        path: RelayPath::Auto,
    };
    pub(super) const EPOLL: Self = Self {
        name: "ringpark-epoll",
        about: "the same on epoll: the baseline",
        backend: Backend::Epoll,
        ..Self::URING
    };
    pub(super) const POLL: Self = Self {
        name: "ringpark-poll",
        about: "the same on poll(2)",
        backend: Backend::Poll,
        ..Self::URING
    };
    pub(super) const SPINNING: Self = Self {
        name: "ringpark-spin",
        about: "io_uring, looking for work for up to 50 µs before it sleeps",
        spin: Some(Duration::from_micros(50)),
        ..Self::URING
    };
    pub(super) const UNWATCHED: Self = Self {
        name: "ringpark-unwatched",
        about: "io_uring, without counters that other threads can read: what these cost",
        watched: false,
        ..Self::URING
    };
    pub(super) const COPY: Self = Self {
        name: "ringpark-copy",
        about: "io_uring; relays never splice",
        path: RelayPath::Copy,
        ..Self::URING
    };
    pub(super) const SPLICE: Self = Self {
        name: "ringpark-splice",
        about: "io_uring; relays always splice",
        path: RelayPath::Splice,
        ..Self::URING
    };
    pub(super) const EPOLL_COPY: Self = Self {
        name: "ringpark-epoll-copy",
        about: "epoll; relays never splice",
        path: RelayPath::Copy,
        ..Self::EPOLL
    };
    pub(super) const EPOLL_SPLICE: Self = Self {
        name: "ringpark-epoll-splice",
        about: "epoll; relays always splice",
        path: RelayPath::Splice,
        ..Self::EPOLL
    };

    /// Whether its relays choose their path themselves.
    fn chooses(&self) -> bool {
        self.path == RelayPath::Auto
    }
}

impl Contestant for Ringpark {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn is_usual(&self) -> bool {
        self.chooses()
    }

    fn offers(&self, shape: Shape) -> bool {
        if !self.chooses() {
            return matches!(shape, Shape::Relayed { .. } | Shape::Bulk { .. });
        }
        if shape.service() == Service::EchoOnAll {
            return matches!(self.name, "ringpark-uring" | "ringpark-epoll");
        }
        if !self.watched {
            return matches!(shape, Shape::Echo { connections: 1 | 64, size: MESSAGE_SIZE });
        }
        // What it is for is one request after the other.
        self.spin.is_none() || matches!(shape, Shape::Echo { .. })
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let (order, path) = (order.clone(), self.path);
        if matches!(order, Order::EchoOnAll) {
            return self.serve_on_all(announce);
        }
        self.core().block_on(async move {
            let listener = TcpListener::from_std(listen()?)?;
            announce(listener.local_addr()?)?;
            loop {
                let stream = listener.accept_stream().await?;
                match order {
                    Order::Echo => drop(ringpark::spawn(echo(stream))),
                    Order::Relay { origin, .. } => {
                        drop(ringpark::spawn(relay(stream, origin, path)));
                    }
                    _ => return Err(unfit(self.name, &order)),
                }
            }
        })?
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        let order = order.clone();
        self.core().block_on(async move {
            match order {
                Order::Wake { .. } => wake::run(&order, |task| drop(ringpark::spawn(task))).await,
                _ => timers::run(&order, ringpark::time::sleep).await,
            }
        })?
    }
}

impl Ringpark {
    /// An echo on a core for each CPU. One acceptor places the connections, and they move.
    fn serve_on_all(&self, announce: Announce<'_>) -> io::Result<()> {
        let listener = listen()?;
        announce(listener.local_addr()?)?;
        self.core().accept(ringpark::runtime::Accept::ByLoad).run(|| async {
            let listener = TcpListener::from_std(listener.try_clone()?)?;
            loop {
                let stream = listener.accept_stream().await?;
                drop(ringpark::spawn(movable::echo(stream)));
            }
        })
    }

    fn core(&self) -> Builder {
        let mut builder = Builder::new().backend(self.backend);
        if !self.watched {
            builder = builder.unwatched();
        }
        match self.spin {
            Some(spin) => builder.spin(spin),
            None => builder,
        }
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    while let Some(lease) = stream.recv().await? {
        let (sent, _) = stream.write_all(lease).await;
        sent?;
    }
    Ok(())
}

async fn relay(client: TcpStream, origin: SocketAddr, path: RelayPath) -> io::Result<()> {
    let server = TcpStream::connect(origin).await?;
    server.set_nodelay(true)?;
    ringpark::io::relay(&client, &server).path(path).await?;
    Ok(())
}
