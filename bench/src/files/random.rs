//! Random reads of 4 KiB past the page cache.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpark::buf::{AlignedBuf, FixedPool, IoBufMut};
use ringpark::{Backend, Builder};

use super::{Numbers, Sample};

pub(super) const CONTESTANTS: &[&str] = &[
    "ringpark-uring-fixed",
    "ringpark-uring",
    "ringpark-epoll",
    "tokio-current-thread",
    "tokio-multi-thread",
    "fio",
    "fio-fixed",
    "fio-batched",
];

pub(super) const REFERENCES: &[&str] =
    &["fio", "fio-fixed", "fio-batched", "tokio-current-thread", "tokio-multi-thread"];

/// Bytes of a read.
const BLOCK: usize = 4096;
/// Reads under way.
const DEPTH: usize = 32;
/// Blocks of the file: 1 GiB.
const BLOCKS: u64 = 1 << 18;

pub(super) fn prepare(directory: &Path) -> io::Result<PathBuf> {
    prepare_file(directory, BLOCKS)
}

/// A file without holes, which would be read without the disk.
pub(super) fn prepare_file(directory: &Path, blocks: u64) -> io::Result<PathBuf> {
    let path = directory.join("blocks");
    let mut file = std::fs::File::create(&path)?;
    let piece = vec![0x5a; 64 * BLOCK];
    for _ in 0..blocks / 64 {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(path)
}

pub(super) fn run(name: &str, path: &Path, time: Duration) -> io::Result<Sample> {
    match name {
        "ringpark-uring-fixed" => on_ringpark(Backend::Uring, path, time, true),
        "ringpark-uring" => on_ringpark(Backend::Uring, path, time, false),
        "ringpark-epoll" => on_ringpark(Backend::Epoll, path, time, false),
        "tokio-current-thread" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            Sample::of(|| runtime.block_on(on_tokio(path, time)))
        }
        "tokio-multi-thread" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
            Sample::of(|| runtime.block_on(on_tokio(path, time)))
        }
        _ => Err(io::Error::other("no such contestant")),
    }
}

fn on_ringpark(backend: Backend, path: &Path, time: Duration, fixed: bool) -> io::Result<Sample> {
    let read = async {
        let mut options = ringpark::fs::OpenOptions::new();
        let file = Rc::new(options.read(true).direct(true).open(path).await?);
        let blocks = file.metadata()?.len() / BLOCK as u64;
        let pool = FixedPool::new(DEPTH, BLOCK)?;
        if fixed && !pool.is_registered() {
            return Err(io::Error::other("the ring takes no registered buffers"));
        }
        let (count, end) = (Rc::new(Cell::new(0)), Instant::now() + time);
        let tasks: Vec<_> = (0..DEPTH as u64)
            .map(|number| {
                let numbers = Numbers(number + 1);
                let (file, count) = (file.clone(), count.clone());
                let fixed = fixed.then(|| pool.take().expect("one for each"));
                ringpark::spawn(async move {
                    match fixed {
                        Some(buffer) => reads(&file, buffer, numbers, blocks, end, &count).await,
                        None => {
                            let buffer = AlignedBuf::new(BLOCK);
                            reads(&file, buffer, numbers, blocks, end, &count).await
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        Ok(count.get())
    };
    Sample::of(|| Builder::new().backend(backend).block_on(read)?)
}

async fn reads<B: IoBufMut>(
    file: &ringpark::fs::File,
    mut buffer: B,
    mut numbers: Numbers,
    blocks: u64,
    end: Instant,
    count: &Cell<u64>,
) -> io::Result<()> {
    // The clock is read once in a while only, by everybody.
    while count.get() % 16 != 0 || Instant::now() < end {
        let result;
        (result, buffer) = file.read_at(buffer, numbers.below(blocks) * BLOCK as u64).await;
        if result? != BLOCK {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count.set(count.get() + 1);
    }
    Ok(())
}

/// As `tokio::fs` does it: a system call on a helper thread for each read. (Its own `File` cannot
/// read past the page cache: its buffers are not aligned.)
async fn on_tokio(path: &Path, time: Duration) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let blocks = file.metadata()?.len() / BLOCK as u64;
    let (file, end) = (Arc::new(file), Instant::now() + time);
    let tasks: Vec<_> = (0..DEPTH as u64)
        .map(|number| {
            let (file, mut numbers) = (file.clone(), Numbers(number + 1));
            tokio::spawn(async move {
                let mut buffer = Aligned::new();
                let mut count = 0;
                while Instant::now() < end {
                    let (file, at) = (file.clone(), numbers.below(blocks) * BLOCK as u64);
                    let read = tokio::task::spawn_blocking(move || {
                        file.read_exact_at(buffer.bytes(), at).map(|()| buffer)
                    });
                    buffer = read.await.map_err(io::Error::other)??;
                    count += 1;
                }
                io::Result::Ok(count)
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await.map_err(io::Error::other)??;
    }
    Ok(all)
}

/// A block whose memory begins at a multiple of its size, cut out of one twice as large.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; 2 * BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Self { memory, start }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BLOCK]
    }
}
