//! Files: random reads past the page cache, and many small files read whole. See the library's
//! `files`.

fn main() -> std::process::ExitCode {
    ringpark_bench::files::main(std::env::args().skip(1))
}
