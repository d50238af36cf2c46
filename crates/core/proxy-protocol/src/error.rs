//! Why a header is refused.

/// What is wrong with the bytes before a connection's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// They are no PROXY header.
    #[error("the connection does not begin with a PROXY protocol header; does the sender speak it?")]
    NotProxy,
    /// A version 1 line has no end within its most bytes.
    #[error("the PROXY line is longer than 107 bytes")]
    LongLine,
    /// A version 1 line is not made as it must be.
    #[error("the PROXY line is malformed; expected `PROXY TCP4 source destination port port`")]
    Line,
    /// The version of a binary header is not 2, or its command not known.
    #[error("the PROXY header has version or command 0x{got:02x}; expected 0x20 or 0x21")]
    Command {
        /// The byte.
        got: u8,
    },
    /// The address family and transport are not known.
    #[error("the PROXY header has address family 0x{got:02x}, which is none")]
    Family {
        /// The byte.
        got: u8,
    },
    /// The header is longer than there is room for.
    #[error("the PROXY header says that it has {got} bytes after its first 16; at most 4,080 are taken")]
    Long {
        /// What it says.
        got: u16,
    },
    /// The addresses or a field do not fit into the header.
    #[error("a part of the PROXY header ends behind the header")]
    Cut,
    /// A field that is understood is malformed or there twice.
    #[error("field 0x{field:02x} of the PROXY header is malformed or there twice")]
    Field {
        /// Its type.
        field: u8,
    },
    /// The checksum is wrong.
    #[error("the checksum of the PROXY header is wrong; it was damaged on its way")]
    Checksum,
}

impl Error {
    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotProxy => "not_proxy",
            Self::Checksum => "checksum",
            Self::LongLine
            | Self::Line
            | Self::Command { .. }
            | Self::Family { .. }
            | Self::Long { .. }
            | Self::Cut
            | Self::Field { .. } => "malformed",
        }
    }
}
