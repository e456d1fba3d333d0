//! tokio, on its current_thread runtime: the runtime whose users we ask to come over.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{listen, timers, unfit, wake, Announce, Contestant, Order};
use crate::load::Sample;
use crate::workload::{Service, Shape};

/// tokio with relay buffers of one of two sizes.
pub(super) struct Tokio {
    name: &'static str,
    about: &'static str,
    /// What a connection of the echo reads into.
    echo_buffer_size: usize,
    /// What `copy_bidirectional` gets for each direction.
    relay_buffer_size: usize,
    /// Whether it is there for large messages and bulk alone.
    large_only: bool,
}

impl Tokio {
    pub(super) const DEFAULT: Self = Self {
        name: "tokio",
        about: "current_thread, on all CPUs multi_thread; echo with 16 KiB a connection, copy_bidirectional with 8 KiB",
        echo_buffer_size: 16 * 1024,
        relay_buffer_size: 8 * 1024,
        large_only: false,
    };
    pub(super) const LARGE: Self = Self {
        name: "tokio-64k",
        about: "current_thread; 64 KiB for echoes of large messages and copy_bidirectional",
        echo_buffer_size: 64 * 1024,
        relay_buffer_size: 64 * 1024,
        large_only: true,
    };
}

impl Contestant for Tokio {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, shape: Shape) -> bool {
        let large = match shape {
            Shape::Echo { size, .. } => size > Self::DEFAULT.echo_buffer_size,
            shape => shape.service() == Service::Relay,
        };
        large || !self.large_only
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let runtime = match order {
            Order::EchoOnAll => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
            _ => runtime()?,
        };
        runtime.block_on(async {
            let listener = listen()?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            announce(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                match *order {
                    Order::Echo | Order::EchoOnAll => {
                        drop(tokio::spawn(echo(stream, self.echo_buffer_size)))
                    }
                    Order::Relay { origin, .. } => {
                        drop(tokio::spawn(relay(stream, origin, self.relay_buffer_size)));
                    }
                    _ => return Err(unfit(self.name, order)),
                }
            }
        })
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        match order {
            Order::Wake { .. } => {
                runtime()?.block_on(wake::run(order, |task| drop(tokio::spawn(task))))
            }
            // A task that has had its share polls a timer in vain, which then is not armed.
            _ => runtime()?
                .block_on(tokio::task::unconstrained(timers::run(order, tokio::time::sleep))),
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn relay(mut client: TcpStream, origin: SocketAddr, size: usize) -> io::Result<()> {
    let mut server = TcpStream::connect(origin).await?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, size, size).await?;
    Ok(())
}
