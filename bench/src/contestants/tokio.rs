//! tokio, on its current_thread runtime: the runtime whose users we ask to come over.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{timers, unfit, Announce, Contestant, Order};
use crate::load::Sample;
use crate::workload::Service;

/// tokio with relay buffers of one of two sizes.
pub(super) struct Tokio {
    name: &'static str,
    about: &'static str,
    /// What `copy_bidirectional` gets for each direction.
    relay_buffer_size: usize,
    /// Whether it does anything else.
    relay_only: bool,
}

impl Tokio {
    pub(super) const DEFAULT: Self = Self {
        name: "tokio",
        about: "current_thread; echo with 16 KiB a connection, copy_bidirectional with 8 KiB",
        relay_buffer_size: 8 * 1024,
        relay_only: false,
    };
    pub(super) const LARGE: Self = Self {
        name: "tokio-64k",
        about: "current_thread; copy_bidirectional with 64 KiB",
        relay_buffer_size: 64 * 1024,
        relay_only: true,
    };
}

impl Contestant for Tokio {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn offers(&self, service: Service) -> bool {
        service == Service::Relay || !self.relay_only
    }

    fn serve(&self, order: &Order, announce: Announce<'_>) -> io::Result<()> {
        runtime()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            announce(listener.local_addr()?)?;
            loop {
                let (stream, _) = listener.accept().await?;
                match *order {
                    Order::Echo => drop(tokio::spawn(echo(stream))),
                    Order::Relay { origin } => {
                        drop(tokio::spawn(relay(stream, origin, self.relay_buffer_size)));
                    }
                    Order::Timers { .. } => return Err(unfit(self.name, order)),
                }
            }
        })
    }

    fn churn(&self, order: &Order) -> io::Result<Sample> {
        runtime()?.block_on(timers::churn(order, |ahead: Duration| tokio::time::sleep(ahead)))
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
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
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, size, size).await?;
    Ok(())
}
