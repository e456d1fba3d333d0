//! monoio, on its io_uring driver.

use std::io;
use std::net::SocketAddr;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use ringpark_bench::contestants::{listen, timers, unfit, Announce, Contestant, Order};
use ringpark_bench::load::Sample;
use ringpark_bench::workload::{Service, Shape};

/// What a connection of the echo reads into.
const ECHO_BUFFER_SIZE: usize = 16 * 1024;

/// monoio with one of its two ways to relay.
pub struct Monoio {
    name: &'static str,
    about: &'static str,
    /// Whether it relays by `zero_copy`, and does nothing else.
    splice: bool,
}

impl Monoio {
    pub const COPY: Self = Self {
        name: "monoio",
        about: "io_uring; echo with 16 KiB a connection, relay by io::copy (4 KiB)",
        splice: false,
    };
    pub const SPLICE: Self = Self {
        name: "monoio-splice",
        about: "io_uring; relay by io::zero_copy (IORING_OP_SPLICE)",
        splice: true,
    };
}

impl Contestant for Monoio {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, shape: Shape) -> bool {
        match shape.service() {
            Service::Relay => true,
            // Its wakers may leave their thread only with a feature that other workloads pay for.
            Service::EchoOnAll | Service::Wake => false,
            Service::Echo | Service::Timers => !self.splice,
        }
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listen()?)?;
            announce(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                match *order {
                    Order::Echo => drop(monoio::spawn(echo(stream))),
                    Order::Relay { origin, .. } => {
                        drop(monoio::spawn(relay(stream, origin, self.splice)));
                    }
                    _ => return Err(unfit(self.name, order)),
                }
            }
        })
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?;
        runtime.block_on(timers::run(order, monoio::time::sleep))
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(ECHO_BUFFER_SIZE);
    loop {
        let (count, received) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        let (written, sent) = stream.write_all(received).await;
        written?;
        buffer = sent;
        buffer.clear();
    }
}

async fn relay(client: TcpStream, origin: SocketAddr, splice: bool) -> io::Result<()> {
    let server = TcpStream::connect_addr(origin).await?;
    server.set_nodelay(true)?;
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let back = monoio::spawn(forward(server_read, client_write, splice));
    forward(client_read, server_write, splice).await?;
    back.await
}

/// Copies until the source ends, and passes that end on.
async fn forward(
    mut from: monoio::net::tcp::TcpOwnedReadHalf,
    mut to: monoio::net::tcp::TcpOwnedWriteHalf,
    splice: bool,
) -> io::Result<()> {
    match splice {
        true => monoio::io::zero_copy(&mut from, &mut to).await?,
        false => monoio::io::copy(&mut from, &mut to).await?,
    };
    to.shutdown().await
}
