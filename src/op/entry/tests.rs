//! Every entry is that of the io-uring crate, byte for byte.

use std::io;
use std::os::fd::RawFd;
use std::ptr::null_mut;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use socket2::SockAddr;

use super::Entry;
use crate::buf::Lent;
use crate::completion::Token;
use crate::op::*;
use crate::sys::SOCKET_FLAGS;

/// Whatever an operation keeps open.
struct Seven;

impl KeepsOpen for Seven {
    fn fd(&self) -> RawFd {
        7
    }
}

impl<T> Keeps<T> for Seven {
    fn keep(&self, _outcome: io::Result<T>) {}
}

impl Child for Seven {
    fn pid(&self) -> libc::pid_t {
        99
    }
}

const FD: Fd = Fd(7);

fn bytes(entry: squeue::Entry) -> [u8; 64] {
    // SAFETY: an entry is 64 bytes, all of which are initialized.
    unsafe { std::mem::transmute(entry) }
}

/// What an operation makes for itself to point to is taken from its entry.
fn same(ours: Entry, theirs: squeue::Entry) {
    let words = format!("{ours:?} and {theirs:?}");
    assert_eq!(bytes(ours.into()), bytes(theirs), "{words}");
}

fn of(op: &mut impl Op) -> Entry {
    op.sqe().expect("it has a form for the ring")
}

#[test]
fn of_sockets() {
    same(
        of(&mut Accept::new(Seven)),
        opcode::Accept::new(FD, null_mut(), null_mut()).flags(SOCKET_FLAGS).build(),
    );
    same(
        of(&mut Socket::stream(socket2::Domain::IPV6)),
        opcode::Socket::new(libc::AF_INET6, libc::SOCK_STREAM | SOCKET_FLAGS, 0).build(),
    );
    let address: std::net::SocketAddr = "127.0.0.1:80".parse().expect("an address");
    let entry = of(&mut Connect::new(Seven, SockAddr::from(address)));
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    same(entry, opcode::Connect::new(FD, entry.address as *const _, length).build());
}

#[test]
fn of_receives() {
    let mut buffer = Vec::<u8>::with_capacity(100);
    let (memory, len) = (buffer.as_mut_ptr(), buffer.capacity() as u32);
    let peek = opcode::Recv::new(FD, memory, len).flags(libc::MSG_PEEK).build();
    same(of(&mut Recv::peek(Seven, buffer)), peek);
    let entry = of(&mut RecvMsg::datagram(Seven, Vec::<u8>::with_capacity(9)));
    let flags = (libc::MSG_CMSG_CLOEXEC | libc::MSG_TRUNC) as u32;
    same(entry, opcode::RecvMsg::new(FD, entry.address as *mut _).flags(flags).build());
}

#[test]
fn of_sends() {
    let bytes = &b"some bytes"[..];
    let (memory, len) = (bytes.as_ptr().wrapping_add(5), 5);
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    let theirs = opcode::Send::new(FD, memory, len).flags(flags).build();
    same(of(&mut Send::all(Seven, bytes, 5)), theirs);
    let theirs = opcode::SendZc::new(FD, memory, len).flags(flags).zc_flags(1 << 3).build();
    same(of(&mut SendZc::all(Seven, Lent::new(bytes), 5, true)), theirs);
    let entry = of(&mut SendMsg::new(Seven, vec![bytes], 0, true));
    let theirs = opcode::SendMsg::new(FD, entry.address as *const _).flags(flags as u32).build();
    same(entry, theirs);
}

#[test]
fn of_reads_and_writes() {
    let mut buffer = Vec::<u8>::with_capacity(100);
    let (memory, len) = (buffer.as_mut_ptr(), buffer.capacity() as u32);
    let theirs = opcode::Read::new(FD, memory, len).offset(5).build();
    let mut op = ReadAt::new(Seven, buffer, 5, false);
    same(of(&mut op), theirs);
    let theirs = opcode::ReadFixed::new(FD, memory, len, 3).offset(5).build();
    same(of(&mut op.registered(Some(3))), theirs);
    let mut buffer = Vec::<u8>::with_capacity(100);
    let theirs = opcode::Read::new(FD, buffer.as_mut_ptr(), 100).offset(u64::MAX).build();
    same(of(&mut Read::new(Seven, buffer, Mode::Blocking)), theirs);
    let entry = of(&mut ReadVectoredAt::new(Seven, vec![vec![0u8; 3]; 2], 5, false));
    same(entry, opcode::Readv::new(FD, entry.address as *const _, 2).offset(5).build());

    let bytes = &b"some bytes"[..];
    let (memory, len) = (bytes.as_ptr().wrapping_add(4), 6);
    let theirs = opcode::Write::new(FD, memory, len).offset(5).build();
    let mut op = WriteAt::new(Seven, bytes, 4, 5);
    same(of(&mut op), theirs);
    let theirs = opcode::WriteFixed::new(FD, memory, len, 3).offset(5).build();
    same(of(&mut op.registered(Some(3))), theirs);
    let theirs = opcode::Write::new(FD, memory, len).offset(u64::MAX).build();
    same(of(&mut Write::new(Seven, bytes, 4, Mode::Disk)), theirs);
    let entry = of(&mut WriteVectoredAt::new(Seven, vec![bytes; 2], 5));
    same(entry, opcode::Writev::new(FD, entry.address as *const _, 2).offset(5).build());
}

#[test]
fn of_waits_and_ends() {
    let theirs = opcode::PollAdd::new(FD, (libc::POLLIN | libc::POLLRDHUP) as u32).build();
    same(of(&mut Poll::new(Seven, Interest::Readable)), theirs);
    same(close_sqe(7), opcode::Close::new(FD).build());
    let token = Token::op(5, 6);
    let theirs = opcode::AsyncCancel::new(token.bits()).build();
    same(cancel_sqe(token), theirs.user_data(token.cancel().bits()));
    let entry = of(&mut WaitChild::new(Seven));
    let theirs = opcode::WaitId::new(libc::P_PID, 99, libc::WEXITED);
    same(entry, theirs.infop(entry.offset as *const _).build());
}

#[test]
fn of_streams() {
    let stream = |code: Code| code.row().stream.expect("its answers go to a sink").entry;
    let theirs = opcode::AcceptMulti::new(FD).flags(SOCKET_FLAGS).build();
    same(stream(Code::AcceptMulti)(7, 0), theirs);
    let theirs = opcode::RecvMulti::new(FD, STREAM_GROUP).len(64).build();
    same(stream(Code::RecvMulti)(7, 64), theirs);
    let theirs = opcode::Recv::new(FD, null_mut(), 0).buf_group(STREAM_GROUP).build();
    same(stream(Code::Recv)(7, 64), theirs.flags(squeue::Flags::BUFFER_SELECT));
    let entry = stream(Code::RecvMsgMulti)(7, 0);
    let theirs = opcode::RecvMsgMulti::new(FD, entry.address as *const _, DATAGRAM_GROUP).build();
    same(entry, theirs);
}

#[test]
fn the_opcodes_that_no_ring_is_asked_for_are_right_too() {
    assert_eq!(Code::Shutdown.row().opcode, opcode::Shutdown::CODE);
    assert_eq!(Code::Splice.row().opcode, opcode::Splice::CODE);
}
