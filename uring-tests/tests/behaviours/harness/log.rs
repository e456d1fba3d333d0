//! What the library logs during a trial, kept so that a test can read it.

use std::io;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps all events of this process from now on.
pub fn install() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_ansi(false)
        .without_time()
        .with_writer(Kept)
        .init();
}

/// All that has been logged.
pub fn text() -> String {
    String::from_utf8_lossy(&LINES.lock().expect("the log is whole")).into_owned()
}

/// The logged lines that contain a word, whatever its case.
pub fn lines_with(word: &str) -> Vec<String> {
    let word = word.to_lowercase();
    let text = text();
    text.lines().filter(|line| line.to_lowercase().contains(&word)).map(str::to_owned).collect()
}

#[derive(Clone, Copy)]
struct Kept;

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().expect("the log is whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Kept;

    fn make_writer(&self) -> Kept {
        Kept
    }
}
