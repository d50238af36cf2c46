//! The two kernel interfaces that have no safe wrapper: device-mapper and watchdog requests.
//!
//! Owns: all unsafe code of this crate. Leaves to others: what the requests mean (`dm`, `watchdog`).
//! Invariant: the kernel is only handed pointers to buffers that are at least as long as it is told.
#![allow(unsafe_code)]

use std::{fs::File, io, os::fd::AsRawFd};

/// Length of `struct dm_ioctl`, the header of every device-mapper request: linux/dm-ioctl.h, interface version 4.
pub(crate) const DM_HEADER_BYTES: usize = 312;

/// A device-mapper request, by its number in linux/dm-ioctl.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DmRequest {
    /// Makes an empty device.
    Create = 3,
    /// Suspends, or without the suspend flag resumes, a device: the loaded table becomes the live one.
    Resume = 6,
    /// Loads a table into the inactive place of a device.
    LoadTable = 9,
}

/// Sends a device-mapper request; the kernel writes its answer into `buffer`.
///
/// # Panics
/// When `buffer` is shorter than the header, or its length is not what its `data_size` field says: both would let the
/// kernel write past its end.
pub(crate) fn device_mapper(control: &File, request: DmRequest, buffer: &mut [u8]) -> io::Result<()> {
    assert!(buffer.len() >= DM_HEADER_BYTES, "a device-mapper request begins with a whole header");
    let data_size = u32::from_ne_bytes([buffer[12], buffer[13], buffer[14], buffer[15]]);
    assert_eq!(data_size as usize, buffer.len(), "data_size is the length of the buffer");
    let number = nix::request_code_readwrite!(0xfd, request as u8, DM_HEADER_BYTES);
    // SAFETY: the pointer is to `buffer`, which is valid for reads and writes of its whole length for the duration of
    // the call; the kernel accesses at most `data_size` bytes of it, which were just checked to be that length.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), number as _, buffer.as_mut_ptr()) };
    nix::errno::Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Sets the time after which an open watchdog restarts the machine; returns what the hardware made of it, in seconds.
pub(crate) fn watchdog_timeout(watchdog: &File, seconds: i32) -> io::Result<i32> {
    nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);
    let mut seconds: libc::c_int = seconds;
    // SAFETY: WDIOC_SETTIMEOUT (linux/watchdog.h) reads and writes one int; the pointer is to a local one.
    unsafe { set_timeout(watchdog.as_raw_fd(), &raw mut seconds) }?;
    Ok(seconds)
}
