//! Many small files, each read whole, from memory after the first round, as configuration, templates
//! and certificates are.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use ringpark::{Backend, Builder};

use super::Sample;

pub(super) const CONTESTANTS: &[&str] = &[
    "ringpark-uring",
    "ringpark-uring-2-cores",
    "ringpark-epoll",
    "tokio-current-thread",
    "tokio-multi-thread",
    "std",
];

pub(super) const REFERENCES: &[&str] = &["tokio-current-thread", "tokio-multi-thread", "std"];

/// Files in all, in one folder, and bytes of each.
const FILES: usize = 100_000;
const SIZE: usize = 1024;

pub(super) fn prepare(directory: &Path) -> io::Result<PathBuf> {
    prepare_files(directory, FILES)
}

pub(super) fn prepare_files(directory: &Path, count: usize) -> io::Result<PathBuf> {
    let folder = directory.join("files");
    if folder.exists() {
        return Ok(folder);
    }
    std::fs::create_dir(&folder)?;
    (0..count).try_for_each(|number| std::fs::write(folder.join(number.to_string()), [7; SIZE]))?;
    Ok(folder)
}

/// One pass over all the files, `AT_A_TIME` of them at a time. (There is nothing to do for a time: the
/// time is what is measured.)
pub(super) fn run<const AT_A_TIME: usize>(
    name: &str,
    folder: &Path,
    _: Duration,
) -> io::Result<Sample> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    let paths: Arc<[PathBuf]> = paths.into();
    let count = paths.len() as u64;
    Sample::of(|| {
        match name {
            "ringpark-uring" | "ringpark-epoll" => {
                let backend =
                    if name == "ringpark-epoll" { Backend::Epoll } else { Backend::Uring };
                let core = Builder::new().backend(backend);
                core.block_on(on_ringpark(paths, Arc::default(), AT_A_TIME))??
            }
            "ringpark-uring-2-cores" => {
                let next = Arc::new(AtomicUsize::new(0));
                let cores = Builder::new().backend(Backend::Uring).cores(2);
                cores.run(|| on_ringpark(paths.clone(), next.clone(), AT_A_TIME.div_ceil(2)))?;
            }
            "tokio-current-thread" => {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.build()?.block_on(on_tokio(paths, AT_A_TIME))?;
            }
            "tokio-multi-thread" => {
                let mut runtime = tokio::runtime::Builder::new_multi_thread();
                runtime.build()?.block_on(on_tokio(paths, AT_A_TIME))?;
            }
            "std" => paths.iter().try_for_each(|path| check(&std::fs::read(path)?))?,
            _ => return Err(io::Error::other("no such contestant")),
        }
        Ok(count)
    })
}

fn check(bytes: &[u8]) -> io::Result<()> {
    match bytes.len() == SIZE && bytes.iter().all(|&byte| byte == 7) {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads files on this core, of which others may take some of the same.
async fn on_ringpark(
    paths: Arc<[PathBuf]>,
    next: Arc<AtomicUsize>,
    at_a_time: usize,
) -> io::Result<()> {
    let tasks: Vec<_> = (0..at_a_time)
        .map(|_| {
            let (paths, next) = (paths.clone(), next.clone());
            ringpark::spawn(async move {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(&ringpark::fs::read(path).await?)?;
                }
                Ok(())
            })
        })
        .collect();
    all_done(tasks).await
}

async fn on_tokio(paths: Arc<[PathBuf]>, at_a_time: usize) -> io::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..at_a_time)
        .map(|_| {
            let (paths, next) = (paths.clone(), next.clone());
            tokio::spawn(async move {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(&tokio::fs::read(path).await?)?;
                }
                Ok(())
            })
        })
        .collect();
    all_done(tasks).await
}

/// Waits for tasks; the first that has failed is the result.
async fn all_done<T, E>(tasks: Vec<T>) -> io::Result<()>
where
    T: Future<Output = Result<io::Result<()>, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}
