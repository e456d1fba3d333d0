//! fio (<https://fio.readthedocs.io>) with its io_uring engine: what a program written for nothing
//! else gets out of the same disk.

use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Sample;

/// More options of fio for the contestant of this name; `None` if it is not fio.
pub(super) fn kind(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "fio" => Some(&[]),
        "fio-fixed" => Some(&["--fixedbufs=1", "--registerfiles=1"]),
        // The best of what was tried: half of the reads are handed in, and waited for, at once.
        "fio-batched" => Some(&[
            "--fixedbufs=1",
            "--registerfiles=1",
            "--norandommap",
            "--gtod_reduce=1",
            "--iodepth_batch_submit=16",
            "--iodepth_batch_complete_min=16",
            "--iodepth_batch_complete_max=32",
        ]),
        _ => None,
    }
}

pub(super) fn run(more: &[&str], path: &Path, seconds: f64) -> io::Result<Sample> {
    let mut command = Command::new("fio");
    command.arg("--name=reads").arg(format!("--filename={}", path.display()));
    command.args(["--ioengine=io_uring", "--direct=1", "--rw=randread", "--bs=4k"]);
    command.args(["--iodepth=32", "--time_based", "--thread", "--output-format=json"]);
    // fio counts from seconds up only in whole microseconds with a unit.
    command.arg(format!("--runtime={}us", (seconds * 1e6) as u64)).args(more);
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("fio is not installed"),
        _ => error,
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("{}: {said}", output.status)));
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let job = &report["jobs"][0];
    let figure = |value: &Value| value.as_f64().ok_or_else(|| io::Error::other("no such figure"));
    // Of the run time, in percent.
    let busy = figure(&job["usr_cpu"])? + figure(&job["sys_cpu"])?;
    let rate = figure(&job["read"]["iops"])?;
    Ok(Sample { rate, cpu_ns: busy / 100.0 * 1e9 / rate })
}
