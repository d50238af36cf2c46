//! Datagram sockets: one of a listener for all its clients, one of a session for its server.
//!
//! Owns: the system calls. Invariant: an answer leaves from the address that the client sent to, also where a listener
//! is bound to all addresses of the box, for a client takes no answer from another one.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    os::fd::AsRawFd as _,
};

use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, send, sendmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

/// Room for datagrams that wait to be read: 4 MiB, 3,000 of the size of a packet, which the kernel holds at
/// net.core.rmem_max. Its default of 208 KiB is a few milliseconds of a busy box.
const RECEIVE_BYTES: usize = 4 << 20;

/// Binds `count` sockets to one address; when its port is 0 all get the port that the kernel chose.
///
/// # Errors
/// When the address is in use, is not ours, or needs a privilege.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdSocket>> {
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // Where the kernel grants less, that does as well.
        let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
        socket.bind(&address.into())?;
        let socket = StdSocket::from(socket);
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Who sent a datagram, and to which address of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) client: SocketAddr,
    local: Option<IpAddr>,
}

/// A listener's socket at one worker.
#[derive(Debug)]
pub(crate) struct ListenerSocket {
    socket: UdpSocket,
    /// Where the kernel puts the address that a datagram was sent to.
    control: RefCell<Vec<u8>>,
}

impl ListenerSocket {
    /// A socket of [`bind`].
    pub(crate) fn new(socket: StdSocket) -> io::Result<Self> {
        let control = RefCell::new(cmsg_space!(libc::in6_pktinfo));
        Ok(Self { socket: UdpSocket::from_std(socket)?, control })
    }

    /// Waits until there may be a datagram.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The next datagram's length and where it came from.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Flow)> {
        self.socket.try_io(Interest::READABLE, || {
            let mut control = self.control.borrow_mut();
            let mut pieces = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message =
                recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
            let local = message.cmsgs()?.find_map(|control| destination(&control));
            let client = message.address.as_ref().and_then(internet).ok_or(io::ErrorKind::InvalidData)?;
            Ok((message.bytes, Flow { client, local }))
        })
    }

    /// Sends one datagram to a client, from the address that it sent to.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, and what else the system says.
    pub(crate) fn send(&self, bytes: &[u8], flow: &Flow) -> io::Result<()> {
        let pieces = [IoSlice::new(bytes)];
        let to = SockaddrStorage::from(flow.client);
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(self.socket.as_raw_fd(), &pieces, control, MsgFlags::MSG_DONTWAIT, Some(&to))
        };
        match flow.local {
            Some(IpAddr::V4(local)) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
                let nowhere = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: nowhere };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            Some(IpAddr::V6(local)) => {
                let source = libc::in6_addr { s6_addr: local.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])
            }
            None => send(&[]),
        }?;
        Ok(())
    }
}

fn destination(control: &ControlMessageOwned) -> Option<IpAddr> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))),
        _ => None,
    }
}

fn internet(address: &SockaddrStorage) -> Option<SocketAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::from((v4.ip(), v4.port()))),
        (None, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
        (None, None) => None,
    }
}

/// A session's socket to its server: connected, so that it hears nobody else, and hears when the port is closed.
#[derive(Debug)]
pub(crate) struct ServerSocket(UdpSocket);

impl ServerSocket {
    /// A socket that only speaks with `server`.
    ///
    /// # Errors
    /// When descriptors or source ports are gone, or there is no way to the server.
    pub(crate) fn connect(server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.connect(&server.into())?;
        UdpSocket::from_std(socket.into()).map(Self)
    }

    /// Waits until there may be a datagram, or news of an error.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// The next datagram's length.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionRefused` when the server said that its port is closed.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_recv(buffer)
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; `ConnectionRefused` when the server said before that its port is closed.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
