//! What the initrd says, and its end when a step failed.
//!
//! Owns: the kernel log and the console as the places where a person or a serial log finds out what happened. Leaves
//! to others: what there is to say. Invariant: a failure is always told before the restart.

use std::{fs::OpenOptions, io::Write, thread, time::Duration};

use nix::sys::reboot::{RebootMode, reboot};

use crate::error::Error;

/// How long a failure stays on the screen before the box restarts.
///
/// Long enough to be read or photographed, short against the 20 s of a boot, and three attempts of a trial still fall
/// back within two minutes.
const READING_TIME: Duration = Duration::from_secs(5);

/// Tells one step, on the console at once and in the kernel log for the journal.
pub(crate) fn say(text: &str) {
    println!("evenkeel-init: {text}");
    kernel_log(6, text);
}

/// Tells a failure, waits until it can have been read, and restarts the machine.
pub(crate) fn restart_after(error: &Error) -> ! {
    say(&format!("CANNOT START: {error}"));
    say(&format!("restarting in {} s; a release on trial loses one attempt", READING_TIME.as_secs()));
    nix::unistd::sync();
    thread::sleep(READING_TIME);
    loop {
        let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
        say(&format!("restart refused by the kernel ({errno}); the watchdog will do it"));
        thread::sleep(READING_TIME);
    }
}

/// Writes a record to the kernel log with a syslog level (0 most severe, 7 least); the log may not be there yet.
fn kernel_log(level: u8, text: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // Losing the second copy of a message must not keep the box from starting.
        let _ = log.write_all(format!("<{level}>evenkeel-init: {text}\n").as_bytes());
    }
}
