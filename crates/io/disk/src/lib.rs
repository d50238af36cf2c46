//! Slots, boot entries and state files on real storage.
