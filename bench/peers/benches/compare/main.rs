//! The comparison harness, with the peers that are Rust among the contestants.

mod compio;
mod glommio;
mod monoio;

use ringpark_bench::contestants::Contestant;

const PEERS: &[&dyn Contestant] =
    &[&monoio::Monoio::COPY, &monoio::Monoio::SPLICE, &compio::Compio, &glommio::Glommio];

fn main() -> std::process::ExitCode {
    ringpark_bench::main(PEERS, std::env::args().skip(1))
}
