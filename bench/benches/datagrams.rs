//! Small datagrams, echoed one by one, in batches, and in series. See the library's `datagrams`.

fn main() -> std::process::ExitCode {
    ringpark_bench::datagrams::main(std::env::args().skip(1))
}
