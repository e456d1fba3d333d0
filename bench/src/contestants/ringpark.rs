//! ringpark itself, on each of its backends. Its epoll backend is the baseline: the same library,
//! the same server, with readiness instead of completions.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringpark::net::{TcpListener, TcpStream};
use ringpark::{Backend, Builder};

use super::{listen, timers, unfit, wake, Announce, Contestant, Order};
use crate::load::Sample;
use crate::workload::Shape;

/// ringpark on one backend, on one core.
pub(super) struct Ringpark {
    name: &'static str,
    about: &'static str,
    backend: Backend,
    /// How long it looks for work before it sleeps, if that is not the library's choice.
    spin: Option<Duration>,
}

impl Ringpark {
    pub(super) const URING: Self = Self {
        name: "ringpark-uring",
        about: "io_uring; echo sends the lease it received, relay is ringpark::io::relay",
        backend: Backend::Uring,
        spin: None,
    };
    pub(super) const EPOLL: Self = Self {
        name: "ringpark-epoll",
        about: "the same on epoll: the baseline",
        backend: Backend::Epoll,
        spin: None,
    };
    pub(super) const POLL: Self = Self {
        name: "ringpark-poll",
        about: "the same on poll(2)",
        backend: Backend::Poll,
        spin: None,
    };
    pub(super) const SPINNING: Self = Self {
        name: "ringpark-spin",
        about: "io_uring, looking for work for up to 50 µs before it sleeps",
        backend: Backend::Uring,
        spin: Some(Duration::from_micros(50)),
    };
}

impl Contestant for Ringpark {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, shape: Shape) -> bool {
        // What it is for is one request after the other.
        self.spin.is_none() || matches!(shape, Shape::Echo { .. })
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let order = order.clone();
        self.core().block_on(async move {
            let listener = TcpListener::from_std(listen()?)?;
            announce(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                match order {
                    Order::Echo => drop(ringpark::spawn(echo(stream))),
                    Order::Relay { origin, .. } => drop(ringpark::spawn(relay(stream, origin))),
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
    fn core(&self) -> Builder {
        let builder = Builder::new().backend(self.backend);
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

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(origin).await?;
    ringpark::io::relay(&client, &server).await?;
    Ok(())
}
