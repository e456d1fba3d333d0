//! Forwards a port to another address, TCP and UDP alike, on one core. Each UDP client gets a socket
//! of its own towards the upstream, which is given up when it has been silent for a minute.
//!
//! ```text
//! cargo run --release --example forward -- 127.0.0.1:5300 9.9.9.9:53
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ringpark::net::{TcpListener, TcpStream, UdpSocket};
use ringpark::time::timeout;

/// How long a UDP client may be silent.
const IDLE: Duration = Duration::from_secs(60);

/// The sockets towards the upstream, by client.
type Clients = Rc<RefCell<HashMap<SocketAddr, Rc<UdpSocket>>>>;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<SocketAddr>());
    let (Some(Ok(listen)), Some(Ok(upstream)), None) = (args.next(), args.next(), args.next())
    else {
        eprintln!("usage: forward ADDRESS UPSTREAM, such as 127.0.0.1:5300 9.9.9.9:53");
        return ExitCode::from(2);
    };
    match ringpark::block_on(run(listen, upstream)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forward: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let listen = listener.local_addr()?;
    let socket = Rc::new(UdpSocket::bind(listen).await?);
    println!("listening on {listen}");
    ringpark::spawn(async move {
        while let Ok(client) = listener.accept_stream().await {
            ringpark::spawn(async move {
                let server = TcpStream::connect(upstream).await?;
                ringpark::io::relay(&client, &server).await?;
                io::Result::Ok(())
            });
        }
    });
    let clients = Clients::default();
    loop {
        let datagram = match socket.recv().await {
            Ok(datagram) => datagram,
            // What the network said of an answer that went nowhere.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let known = clients.borrow().get(&datagram.from).cloned();
        let towards = match known {
            Some(towards) => towards,
            None => new_client(&socket, &clients, datagram.from, upstream).await?,
        };
        if let Err(error) = towards.send(datagram.lease).await.0 {
            eprintln!("forward: to {upstream}: {error}");
        }
    }
}

/// A socket towards the upstream, and a task that carries its answers back.
async fn new_client(
    socket: &Rc<UdpSocket>,
    clients: &Clients,
    client: SocketAddr,
    upstream: SocketAddr,
) -> io::Result<Rc<UdpSocket>> {
    let any = if upstream.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let towards = Rc::new(UdpSocket::bind(any).await?);
    towards.connect(upstream).await?;
    clients.borrow_mut().insert(client, towards.clone());
    let (socket, clients, answers) = (socket.clone(), clients.clone(), towards.clone());
    ringpark::spawn(async move {
        while let Ok(Ok(answer)) = timeout(IDLE, answers.recv()).await {
            if socket.send_to(answer.lease, client).await.0.is_err() {
                break;
            }
        }
        clients.borrow_mut().remove(&client);
    });
    Ok(towards)
}
