//! The servers: each sends back what it gets, with one task.

use std::io;

use ringpark::net::{Transmit, UdpSocket};
use ringpark::{Backend, Builder};

pub(super) const ALL: &[&str] = &[
    "ringpark-uring",
    "ringpark-uring-batch",
    "ringpark-uring-series",
    "ringpark-epoll",
    "ringpark-epoll-series",
    "tokio",
];

/// Serves for ever. Says first where.
pub(super) fn serve(name: &str) -> io::Result<()> {
    let on = |backend| Builder::new().backend(backend);
    match name {
        "ringpark-uring" => on(Backend::Uring).block_on(one_by_one())?,
        "ringpark-uring-batch" => on(Backend::Uring).block_on(in_batches())?,
        "ringpark-uring-series" => on(Backend::Uring).block_on(in_series())?,
        "ringpark-epoll" => on(Backend::Epoll).block_on(one_by_one())?,
        "ringpark-epoll-series" => on(Backend::Epoll).block_on(in_series())?,
        "tokio" => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(on_tokio())
        }
        _ => Err(io::Error::other("no such contestant")),
    }
}

async fn bound() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    crate::contestants::say(&socket.local_addr()?.to_string())?;
    Ok(socket)
}

async fn one_by_one() -> io::Result<()> {
    let socket = bound().await?;
    loop {
        let datagram = socket.recv().await?;
        socket.send_to(datagram.lease, datagram.from).await.0?;
    }
}

async fn in_batches() -> io::Result<()> {
    let socket = bound().await?;
    let mut batch = Vec::new();
    loop {
        socket.recv_batch(&mut batch, 64).await?;
        let answers = batch.drain(..).map(|datagram| (datagram.lease, datagram.from)).collect();
        socket.send_batch(answers).await.0?;
    }
}

async fn in_series() -> io::Result<()> {
    let socket = bound().await?;
    socket.set_gro(true)?;
    loop {
        let datagram = socket.recv().await?;
        let mut transmit = Transmit::new(datagram.from);
        if let Some(bytes) = datagram.received.segment {
            transmit = transmit.segment_size(bytes as u16);
        }
        socket.transmit(datagram.lease, &transmit).await.0?;
    }
}

async fn on_tokio() -> io::Result<()> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    crate::contestants::say(&socket.local_addr()?.to_string())?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..len], from).await?;
    }
}
