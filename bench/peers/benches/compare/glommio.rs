//! glommio, on one local executor.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};

use futures_lite::io::{copy, split};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{spawn_local, LocalExecutor, LocalExecutorBuilder};

use ringpark_bench::contestants::{listen, timers, unfit, wake, Announce, Contestant, Order};
use ringpark_bench::load::Sample;
use ringpark_bench::workload::Shape;

/// What a connection of the echo reads into.
const ECHO_BUFFER_SIZE: usize = 16 * 1024;

/// See the file's head.
pub struct Glommio;

impl Contestant for Glommio {
    fn name(&self) -> &'static str {
        "glommio"
    }

    fn about(&self) -> &'static str {
        "io_uring; echo with 16 KiB a connection, relay by futures-lite's copy (8 KiB)"
    }

    fn offers(&self, shape: Shape) -> bool {
        // A task of its may have 32,767 wakers, and ends the process when it has more.
        !matches!(shape, Shape::Deadlines { .. } | Shape::Skewed { .. })
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        executor()?.run(async {
            let listener = listen()?.into_raw_fd();
            // SAFETY: an open listener, which is given away here.
            let listener = unsafe { TcpListener::from_raw_fd(listener) };
            announce(listener.local_addr()?)?;
            loop {
                let stream = listener.accept().await?;
                match *order {
                    Order::Echo => drop(spawn_local(echo(stream)).detach()),
                    Order::Relay { origin, .. } => {
                        drop(spawn_local(relay(stream, origin)).detach())
                    }
                    _ => return Err(unfit(self.name(), order)),
                }
            }
        })
    }

    fn measure(&self, order: &Order) -> io::Result<Sample> {
        executor()?.run(async {
            match order {
                Order::Wake { .. } => {
                    wake::run(order, |task| drop(spawn_local(task).detach())).await
                }
                _ => timers::run(order, glommio::timer::sleep).await,
            }
        })
    }
}

fn executor() -> io::Result<LocalExecutor> {
    Ok(LocalExecutorBuilder::default().make()?)
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; ECHO_BUFFER_SIZE];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn relay(client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(origin).await?;
    server.set_nodelay(true)?;
    let (client_read, client_write) = split(client);
    let (server_read, server_write) = split(server);
    let there = forward(client_read, server_write);
    let back = forward(server_read, client_write);
    futures_lite::future::try_zip(there, back).await?;
    Ok(())
}

/// Copies until the source ends, and passes that end on.
async fn forward<R, W>(from: R, mut to: W) -> io::Result<()>
where
    R: futures_lite::AsyncRead + Unpin,
    W: futures_lite::AsyncWrite + Unpin,
{
    copy(from, &mut to).await?;
    to.close().await
}
