//! The comparison harness: everything is in the library, see its head.

fn main() -> std::process::ExitCode {
    ringpark_bench::main(&[], std::env::args().skip(1))
}
