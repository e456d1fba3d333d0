//! Network interfaces, where one has to be named by its address (`ip_lean.rs`).

use std::ffi::{CStr, CString};
use std::io;
use std::net::Ipv4Addr;
use std::ptr::NonNull;

/// The first address of IPv4 of the interface with this number; of none for 0.
pub(super) fn address_v4(number: u32) -> io::Result<Ipv4Addr> {
    if number == 0 {
        return Ok(Ipv4Addr::UNSPECIFIED);
    }
    let name = name(number)?;
    let missing = || io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no address of IPv4");
    All::get()?.find_v4(&name).ok_or_else(missing)
}

/// What the interface with this number is called.
fn name(number: u32) -> io::Result<CString> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the array is as long as a name can be.
    let found = unsafe { libc::if_indextoname(number, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).expect("the name ends with a zero");
    Ok(name.to_owned())
}

/// The addresses of all interfaces: a list in memory of the C library's.
struct All(Option<NonNull<libc::ifaddrs>>);

impl All {
    fn get() -> io::Result<All> {
        let mut first = std::ptr::null_mut();
        // SAFETY: the pointer is to a local.
        super::cvt(unsafe { libc::getifaddrs(&mut first) })?;
        Ok(All(NonNull::new(first)))
    }

    fn find_v4(&self, name: &CStr) -> Option<Ipv4Addr> {
        let mut next = self.0;
        while let Some(entry) = next {
            // SAFETY: the entries of the list are valid until it is given back.
            let entry = unsafe { entry.as_ref() };
            next = NonNull::new(entry.ifa_next);
            // SAFETY: each entry has a name, which ends with a zero.
            let is_it = unsafe { CStr::from_ptr(entry.ifa_name) } == name;
            let address = NonNull::new(entry.ifa_addr).filter(|_| is_it);
            // SAFETY: the list's addresses begin with their family.
            let family = address.map(|it| unsafe { it.as_ref() }.sa_family);
            if let (Some(address), Some(family)) = (address, family) {
                if i32::from(family) == libc::AF_INET {
                    // SAFETY: an address of this family has this form, at no address in particular.
                    let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
                    return Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()));
                }
            }
        }
        None
    }
}

impl Drop for All {
    fn drop(&mut self) {
        if let Some(first) = self.0 {
            // SAFETY: the list is given back once.
            unsafe { libc::freeifaddrs(first.as_ptr()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_an_address_and_none_is_no_interface() {
        // SAFETY: the name ends with a zero.
        let loopback = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        assert_eq!(address_v4(loopback).expect("it is up"), Ipv4Addr::LOCALHOST);
        assert_eq!(address_v4(0).expect("any"), Ipv4Addr::UNSPECIFIED);
        assert!(address_v4(u32::MAX).is_err(), "there is no such number");
    }
}
