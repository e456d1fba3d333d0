//! A server that asks nobody's permission to say hello: on every core, one task per connection.
//!
//! ```text
//! cargo run --example hello
//! echo world | nc -N 127.0.0.1 7000
//! ```

use std::io;
use std::time::{Duration, Instant};

use ringpark::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    ringpark::Builder::new().run(|| async {
        let listener = TcpListener::bind("127.0.0.1:7000").await?;
        loop {
            let (client, peer) = listener.accept().await?;
            ringpark::spawn(async move {
                if let Err(err) = greet(client).await {
                    eprintln!("{peer}: {err}");
                }
            });
        }
    })
}

async fn greet(client: TcpStream) -> io::Result<()> {
    client.set_deadline(Some(Instant::now() + Duration::from_secs(10)));
    let mut name = Vec::new();
    while !name.contains(&b'\n') && name.len() < 100 {
        let Some(bytes) = client.recv().await? else { break };
        name.extend_from_slice(&bytes);
    }
    let answer = format!("hello, {}!\n", String::from_utf8_lossy(&name).trim());
    client.write_all(answer).await.0
}
