//! The framing that tar puts around files (POSIX.1-2017, pax, "ustar Interchange Format").
//!
//! Owns: the one header that a bundle has for a file of a given name and length: mode 0644, owner 0, time 0.
//! There is no reader: whoever knows name and length knows every byte, and compares.

use alloc::string::String;
use core::fmt::Write as _;

/// Tar's unit: headers have it, files are padded to it.
pub(crate) const BLOCK: usize = 512;

/// The end of an archive: two blocks of zeros.
pub(crate) const END: usize = 2 * BLOCK;

/// The header of a regular file.
pub(crate) fn header(name: &str, length: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &octal(length, 11));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let sum = octal(sum, 6);
    block[148..148 + sum.len()].copy_from_slice(sum.as_bytes());
    block[155] = b' ';
    block
}

fn octal(number: u64, digits: usize) -> String {
    let mut text = String::new();
    write!(text, "{number:0digits$o}\0").expect("writing to a string cannot fail");
    text
}

/// Zeros after a file of `length` bytes.
pub(crate) const fn padding(length: u64) -> usize {
    (BLOCK - (length % BLOCK as u64) as usize) % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_name_length_and_checksum_in_their_places() {
        let header = header("root.img", 0o1234);
        assert_eq!(&header[..9], b"root.img\0");
        assert_eq!(&header[124..136], b"00000001234\0");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        let field: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(&header[148..156], format_sum(sum - field + 8 * 32).as_bytes());
    }

    fn format_sum(sum: u64) -> String {
        octal(sum, 6) + " "
    }

    #[test]
    fn padding_fills_the_last_block_and_adds_none() {
        for (length, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(length), zeros, "{length}");
        }
    }
}
