//! Requests to the kernel's device mapper, as bytes.
//!
//! Owns: the layout of `struct dm_ioctl` and `struct dm_target_spec` (linux/dm-ioctl.h, interface version 4). Leaves
//! to others: the table's meaning (`verity`), the call itself (`kernel_calls`).
//! Invariant: a request is built whole in one buffer whose length its header states.

use std::{
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
};

use crate::kernel_calls::{DM_HEADER_BYTES, DmRequest, device_mapper};

/// Length of `struct dm_target_spec`.
const TARGET_BYTES: usize = 40;
/// `DM_READONLY_FLAG`.
const READ_ONLY: u32 = 1;
/// Unit of a table's lengths: the kernel's sector.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// One target that makes up a whole read-only device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Length of the device in sectors of [`SECTOR_BYTES`].
    pub(crate) sectors: u64,
    /// The target's type, at most 15 bytes.
    pub(crate) kind: &'static str,
    /// Its parameters, as the target reads them.
    pub(crate) parameters: String,
}

/// The open device mapper.
pub(crate) struct DeviceMapper {
    control: File,
}

impl DeviceMapper {
    /// Opens the device mapper's control device, which is there once its module is loaded.
    pub(crate) fn open() -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/mapper/control")?;
        Ok(Self { control })
    }

    /// Makes an empty device called `name`; returns its path.
    pub(crate) fn create(&self, name: &str) -> io::Result<PathBuf> {
        let mut buffer = request(name, None);
        device_mapper(&self.control, DmRequest::Create, &mut buffer)?;
        Ok(PathBuf::from(format!("/dev/dm-{}", minor(&buffer))))
    }

    /// Loads `target` as the table of the device `name`.
    pub(crate) fn load(&self, name: &str, target: &Target) -> io::Result<()> {
        device_mapper(&self.control, DmRequest::LoadTable, &mut request(name, Some(target)))
    }

    /// Makes the loaded table of the device `name` the live one.
    pub(crate) fn resume(&self, name: &str) -> io::Result<()> {
        device_mapper(&self.control, DmRequest::Resume, &mut request(name, None))
    }
}

/// A request for the device `name`, with `target` as its only table line.
fn request(name: &str, target: Option<&Target>) -> Vec<u8> {
    let mut buffer = vec![0; DM_HEADER_BYTES];
    buffer[0] = 4;
    put_u32(&mut buffer, 16, as_u32(DM_HEADER_BYTES));
    put_text(&mut buffer[48..176], name);
    if let Some(target) = target {
        put_u32(&mut buffer, 20, 1);
        put_u32(&mut buffer, 28, READ_ONLY);
        buffer.extend_from_slice(&target_spec(target));
    }
    let length = as_u32(buffer.len());
    put_u32(&mut buffer, 12, length);
    buffer
}

/// A target as `struct dm_target_spec` and its parameters, ended by a NUL and padded to 8 bytes.
fn target_spec(target: &Target) -> Vec<u8> {
    let mut spec = vec![0; TARGET_BYTES];
    spec[8..16].copy_from_slice(&target.sectors.to_ne_bytes());
    put_text(&mut spec[24..40], target.kind);
    spec.extend_from_slice(target.parameters.as_bytes());
    spec.resize((spec.len() + 1).next_multiple_of(8), 0);
    let length = as_u32(spec.len());
    put_u32(&mut spec, 20, length);
    spec
}

/// The minor number in an answer's `dev` field, which holds it in the kernel's "huge" encoding: 8 bits, then 12 of the
/// major number, then the rest.
fn minor(answer: &[u8]) -> u64 {
    let dev = answer[40..48].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    (dev & 0xff) | ((dev >> 12) & 0xf_ff00)
}

fn put_u32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn put_text(field: &mut [u8], text: &str) {
    assert!(text.len() < field.len(), "names are constants that leave room for their NUL");
    field[..text.len()].copy_from_slice(text.as_bytes());
}

fn as_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a request is a header and one line of parameters: under 4 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(buffer: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(buffer[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_request_without_a_table_is_the_header_alone() {
        let buffer = request("root", None);
        assert_eq!(buffer.len(), DM_HEADER_BYTES);
        assert_eq!((u32_at(&buffer, 0), u32_at(&buffer, 12), u32_at(&buffer, 20)), (4, 312, 0));
        assert_eq!(&buffer[48..53], b"root\0");
    }

    #[test]
    fn a_table_stands_behind_the_header_with_its_lengths_and_a_nul() {
        let target = Target { sectors: 8, kind: "verity", parameters: "1 a b".to_owned() };
        let buffer = request("root", Some(&target));
        assert_eq!(u32_at(&buffer, 12) as usize, buffer.len());
        assert_eq!((u32_at(&buffer, 16), u32_at(&buffer, 20), u32_at(&buffer, 28)), (312, 1, READ_ONLY));
        let spec = &buffer[DM_HEADER_BYTES..];
        assert_eq!((u32_at(spec, 8), u32_at(spec, 20) as usize), (8, spec.len()));
        assert_eq!(&spec[24..31], b"verity\0");
        assert_eq!(&spec[40..], b"1 a b\0\0\0");
    }

    #[test]
    fn the_minor_number_is_taken_out_of_both_its_parts() {
        let mut answer = vec![0; DM_HEADER_BYTES];
        let (minor_low, major, minor_high) = (0x03_u64, 254 << 8, 1 << 20);
        answer[40..48].copy_from_slice(&(minor_low | major | minor_high).to_ne_bytes());
        assert_eq!(minor(&answer), 0x103);
    }
}
