//! What may go to another thread, and be looked at from there, as it is documented: by the compiler alone.
//!
//! What belongs to one core stays there: `!Send`. What names a core, or was taken off one, goes anywhere.

use std::marker::PhantomData;

use ringpark::{buf, fs, io, net, probe, process, runtime, shutdown, signal, time};

/// Whether a type implements a trait: the inherent constant, where it is there, hides the trait's.
macro_rules! has {
    ($kind:ty, $bound:path) => {{
        #[allow(dead_code)]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        #[allow(dead_code)]
        struct Asked<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code)]
        impl<T: ?Sized + $bound> Asked<T> {
            const HAS: bool = true;
        }
        <Asked<$kind>>::HAS
    }};
}

macro_rules! threads {
    ($($send:literal $sync:literal: $($kind:ty),+;)*) => {
        $($(
            const _: () = assert!(has!($kind, Send) == $send, concat!(stringify!($kind), ": Send"));
            const _: () = assert!(has!($kind, Sync) == $sync, concat!(stringify!($kind), ": Sync"));
        )+)*
    };
}

// The first word says whether it is `Send`, the second whether it is `Sync`.
threads! {
    true true: runtime::Accept, runtime::Backend, runtime::Builder, runtime::CoreHandle,
        runtime::CoreId, runtime::Counter, runtime::Feature, runtime::Load, runtime::Metrics,
        runtime::ParseNameError, runtime::Priority, runtime::SetupError, runtime::TaskBuilder,
        runtime::TaskInfo, runtime::WaitsFor, runtime::YieldNow, runtime::RemoteHandle<u8>,
        runtime::JoinError;
    false false: runtime::JoinHandle<u8>;

    true true: shutdown::Guard, shutdown::Report, shutdown::Shutdown, shutdown::Stage;
    true true: signal::Signal, signal::SignalKind;
    true true: process::Command;
    false false: process::Child, process::ChildStdin, process::ChildStdout, process::ChildStderr;

    true true: buf::AlignedBuf, buf::Lease, buf::Slice<Vec<u8>>, buf::Usage;
    false false: buf::FixedBuf, buf::FixedPool, buf::ZeroCopy<Vec<u8>>;

    true true: fs::DirEntry, fs::OpenOptions, fs::ReadDir;
    false false: fs::File;

    true true: io::Closed, io::NotPollable, io::RelayError, io::RelayPath, io::Transferred;
    false false: io::Descriptor, io::PipeReader, io::PipeWriter, io::Relay<'static>;

    true true: net::Addresses, net::Credentials, net::Datagram, net::Ecn, net::Handoff<net::TcpStream>,
        net::Handoff<net::UnixStream>, net::Handoff<net::TcpListener>, net::Handoff<net::UnixListener>,
        net::Received, net::Transmit, net::UnixMessage;
    false false: net::TcpListener, net::TcpSocket, net::TcpStream, net::UdpSocket,
        net::UnixDatagram, net::UnixListener, net::UnixStream;
    false false: net::OwnedReadHalf, net::OwnedWriteHalf, net::ReuniteError;

    true true: probe::Change, probe::Check, probe::Cost, probe::Finding, probe::Group,
        probe::Outcome, probe::Report, probe::Requirement, probe::Verdict;

    true true: time::Elapsed, time::MissedTickBehavior;
    false false: time::Interval, time::Sleep;
}

/// Not everything passes, nor fails.
#[test]
fn the_compiler_tells_one_from_the_other() {
    assert!(has!(u8, Send) && has!(u8, Sync));
    assert!(has!(std::cell::Cell<u8>, Send) && !has!(std::cell::Cell<u8>, Sync));
    assert!(!has!(std::rc::Rc<u8>, Send));
}
