//! Disk, power, loader, clock and network as values.
