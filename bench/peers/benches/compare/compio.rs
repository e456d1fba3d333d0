//! compio, on its io_uring driver.

use std::io;
use std::net::SocketAddr;

use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{spawn, Runtime};

use ringpark_bench::contestants::{listen, timers, unfit, wake, Announce, Contestant, Order};
use ringpark_bench::load::Sample;
use ringpark_bench::workload::Shape;

/// What a connection of the echo reads into.
const ECHO_BUFFER_SIZE: usize = 16 * 1024;

/// See the file's head.
pub struct Compio;

impl Contestant for Compio {
    fn name(&self) -> &'static str {
        "compio"
    }

    fn about(&self) -> &'static str {
        "io_uring; echo with 16 KiB a connection, relay by copy_bidirectional (8 KiB)"
    }

    fn offers(&self, shape: Shape) -> bool {
        !matches!(shape, Shape::Skewed { .. })
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        Runtime::new()?.block_on(async {
            let listener = TcpListener::from_std(listen()?)?;
            announce(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                match *order {
                    Order::Echo => spawn(echo(stream)).detach(),
                    Order::Relay { origin, .. } => spawn(relay(stream, origin)).detach(),
                    _ => return Err(unfit(self.name(), order)),
                }
            }
        })
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        Runtime::new()?.block_on(async {
            match order {
                Order::Wake { .. } => wake::run(order, |task| spawn(task).detach()).await,
                _ => timers::run(order, compio::time::sleep).await,
            }
        })
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(ECHO_BUFFER_SIZE);
    loop {
        let (count, received) = stream.read(buffer).await.into();
        if count? == 0 {
            return Ok(());
        }
        let (written, sent) = stream.write_all(received).await.into();
        written?;
        buffer = sent;
        buffer.clear();
    }
}

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(origin).await?;
    server.set_nodelay(true)?;
    let (there, back) = compio::io::util::copy_bidirectional(client, server).await;
    there.and(back)?;
    Ok(())
}
