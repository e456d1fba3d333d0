//! Messages as sendmsg(2) and recvmsg(2) know them: bytes, an address, and control messages beside
//! them (cmsg(3)).

use std::io;
use std::os::fd::RawFd;

use socket2::SockAddr;

#[cfg(target_os = "linux")]
use super::cvt;
use super::cvt_size;

/// Room for control messages, aligned as the kernel wants it.
#[derive(Default, Debug)]
pub(crate) struct Control {
    words: Vec<u64>,
    len: usize,
}

impl Control {
    /// Adds a control message.
    pub(crate) fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let start = self.len;
        // SAFETY: these only compute.
        let (space, length, offset) = unsafe {
            let len = data.len() as libc::c_uint;
            (libc::CMSG_SPACE(len), libc::CMSG_LEN(len), libc::CMSG_LEN(0))
        };
        self.len += space as usize;
        self.words.resize(self.len.div_ceil(size_of::<u64>()), 0);
        // SAFETY: all zeros is a header.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = length as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: the vector has room for `space` bytes from `start` on, which are enough for the
        // header and the data behind it.
        unsafe {
            let place = self.words.as_mut_ptr().cast::<u8>().add(start);
            place.cast::<libc::cmsghdr>().write_unaligned(header);
            place.add(offset as usize).copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
    }

    /// Where the messages are, and how many bytes they take; null if there are none.
    pub(crate) fn raw(&mut self) -> (*mut libc::c_void, usize) {
        match self.len {
            0 => (std::ptr::null_mut(), 0),
            len => (self.words.as_mut_ptr().cast(), len),
        }
    }
}

/// The control messages in what the kernel has filled: level, type, data.
pub(crate) struct ControlMessages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for ControlMessages<'a> {
    type Item = (libc::c_int, libc::c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.len() < size_of::<libc::cmsghdr>() {
            return None;
        }
        // SAFETY: there are bytes enough, and a header is plain numbers.
        let header = unsafe { self.0.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        // SAFETY: this only computes.
        let offset = unsafe { libc::CMSG_LEN(0) } as usize;
        #[allow(clippy::unnecessary_cast)] // it is not of the same type everywhere
        let end = (header.cmsg_len as usize).min(self.0.len());
        let data = self.0.get(offset..end)?;
        // SAFETY: this only computes.
        let next = unsafe { libc::CMSG_SPACE(data.len() as libc::c_uint) } as usize;
        self.0 = self.0.get(next..).unwrap_or_default();
        Some((header.cmsg_level, header.cmsg_type, data))
    }
}

/// Receives one message.
///
/// # Safety
/// What the header points to must be valid for writing.
pub(crate) unsafe fn recvmsg(
    fd: RawFd,
    header: &mut libc::msghdr,
    flags: libc::c_int,
) -> io::Result<u32> {
    // SAFETY: the caller vouches for the header.
    cvt_size(unsafe { libc::recvmsg(fd, header, flags | libc::MSG_DONTWAIT) })
}

/// Sends several buffers as one.
///
/// # Safety
/// What the header points to must be valid for reading.
pub(crate) unsafe fn sendmsg(fd: RawFd, header: &libc::msghdr) -> io::Result<u32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the caller vouches for the header.
    cvt_size(unsafe { libc::sendmsg(fd, header, flags) })
}

/// Sends several datagrams, in order: how many went out. An error is that of the first.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sendmmsg<'a>(
    fd: RawFd,
    datagrams: impl Iterator<Item = (&'a [u8], &'a SockAddr)>,
) -> io::Result<u32> {
    let mut sent = 0;
    for (bytes, to) in datagrams {
        let mut vector =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: all zeros is a header that names nothing.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        // SAFETY: the header describes the caller's slice and address.
        match unsafe { sendmsg(fd, &header) } {
            Ok(_) => sent += 1,
            Err(_) if sent > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Sends several datagrams, in order: how many went out. An error is that of the first.
#[cfg(target_os = "linux")]
pub(crate) fn sendmmsg<'a>(
    fd: RawFd,
    datagrams: impl Iterator<Item = (&'a [u8], &'a SockAddr)>,
) -> io::Result<u32> {
    let datagrams: Vec<(&[u8], &SockAddr)> = datagrams.collect();
    let mut vectors: Vec<libc::iovec> = datagrams
        .iter()
        .map(|(bytes, _)| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = datagrams
        .iter()
        .zip(&mut vectors)
        .map(|((_, to), vector)| {
            // SAFETY: all zeros is a header that names nothing.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = to.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let count = headers.len() as libc::c_uint;
    // SAFETY: the headers are valid for the count, and describe the caller's slices.
    cvt(unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, flags) }).map(|sent| sent as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_read_back() {
        let mut control = Control::default();
        control.push(1, 2, b"abc");
        control.push(3, 4, &[]);
        control.push(5, 6, &[7; 20]);
        let (memory, len) = control.raw();
        // SAFETY: the builder has initialized so many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(memory.cast::<u8>(), len) };
        let read: Vec<_> = ControlMessages(bytes).collect();
        assert_eq!(read, [(1, 2, &b"abc"[..]), (3, 4, &[]), (5, 6, &[7; 20])]);
        for cut in 0..len {
            // Whatever is cut off, nothing is read beyond the end.
            ControlMessages(&bytes[..cut]).for_each(|(_, _, data)| assert!(data.len() <= cut));
        }
    }
}
