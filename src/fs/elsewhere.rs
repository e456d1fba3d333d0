//! What the core itself must not wait for.

use std::io;

use crate::runtime::blocking;

/// Runs a call of std on a helper thread.
pub(super) async fn elsewhere<R: Send + 'static>(
    call: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    blocking::run(call).await?
}
