//! Two cores, of which one runs the test and the other serves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use ringpark::runtime::{cores, CoreHandle};
use ringpark::Builder;

use super::variant::{drained, Variant};

/// Runs `main` on the first of two cores, while the other serves.
pub fn on_two_cores<F>(variant: &Variant, main: impl Fn(CoreHandle) -> F + Send + Sync)
where
    F: std::future::Future<Output = ()>,
{
    on_two_cores_of(variant.builder(), main);
}

/// The same with a builder that has been told more.
pub fn on_two_cores_of<F>(builder: Builder, main: impl Fn(CoreHandle) -> F + Send + Sync)
where
    F: std::future::Future<Output = ()>,
{
    let (finish, finished) = futures_channel::oneshot::channel::<()>();
    let ends = Mutex::new((Some(finish), Some(finished)));
    let (main, ends, done) = (&main, &ends, &AtomicUsize::new(0));
    let ran = builder.cores(2).run(|| async move {
        let all = cores();
        assert_eq!(all.len(), 2);
        if CoreHandle::current() == all[0] {
            let finish = ends.lock().expect("nobody panics").0.take();
            main(all[1].clone()).await;
            drained().await;
            done.fetch_add(1, Ordering::Relaxed);
            drop(finish);
        } else {
            let finished = ends.lock().expect("nobody panics").1.take();
            // The other end is dropped, which is the sign.
            finished.expect("taken once").await.expect_err("nothing is sent");
            drained().await;
        }
        Ok(())
    });
    ran.expect("both cores end well");
    assert_eq!(done.load(Ordering::Relaxed), 1, "the main was run");
}
