//! Takes descriptors over a Unix socket: for each message it writes the message into every
//! descriptor that came along, and answers with the reading end of a pipe that has the message in it.
//!
//! ```text
//! cargo run --release --example descriptors -- /tmp/descriptors.sock
//! ```

use std::io;
use std::process::ExitCode;

use ringpark::io::Descriptor;
use ringpark::net::{UnixListener, UnixStream};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: descriptors PATH");
        return ExitCode::from(2);
    };
    let served = ringpark::block_on(async move {
        let listener = UnixListener::bind(&path).await?;
        println!("listening on {}", path.to_string_lossy());
        loop {
            let stream = listener.accept_stream().await?;
            ringpark::spawn(async move {
                if let Err(error) = serve(stream).await {
                    eprintln!("descriptors: {error}");
                }
            });
        }
    });
    let Err::<(), io::Error>(error) = served else { return ExitCode::SUCCESS };
    eprintln!("descriptors: {error}");
    ExitCode::FAILURE
}

async fn serve(stream: UnixStream) -> io::Result<()> {
    loop {
        let (message, bytes) = stream.recv_fds(Vec::with_capacity(4096)).await;
        let message = message?;
        if message.len == 0 {
            return Ok(());
        }
        for fd in message.fds {
            Descriptor::new(fd)?.write_all(bytes.clone()).await.0?;
        }
        let (reader, writer) = ringpark::io::pipe()?;
        writer.write_all(bytes.clone()).await.0?;
        let reader = reader.with_fd(|fd| fd.try_clone_to_owned())??;
        stream.send_fds(bytes, vec![reader]).await.0?;
    }
}
