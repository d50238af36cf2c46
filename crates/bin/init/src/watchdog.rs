//! The hardware watchdog, armed before anything can hang.
//!
//! Owns: arming it. Leaves to others: systemd opens it again, keeps it fed (`RuntimeWatchdogSec`) and stays
//! responsible. Invariant: from here on a hang of kernel, initrd or systemd ends in a restart within [`TIMEOUT`].

use std::{fs::OpenOptions, time::Duration};

use crate::{console, kernel_calls};

/// Time without a sign of life after which the machine restarts.
///
/// systemd opens the watchdog 2 s after this point on hardware and 10 s after it in software emulation on a busy
/// machine; six times that.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Arms the watchdog. A machine without one starts all the same, and says so.
///
/// The file is closed without the magic `V`, so that the watchdog keeps running until systemd takes it over.
pub(crate) fn arm() {
    let seconds = i32::try_from(TIMEOUT.as_secs()).unwrap_or(i32::MAX);
    let armed = OpenOptions::new()
        .write(true)
        .open("/dev/watchdog0")
        .and_then(|watchdog| kernel_calls::watchdog_timeout(&watchdog, seconds));
    match armed {
        Ok(seconds) => console::say(&format!("watchdog armed: {seconds} s")),
        Err(error) => console::say(&format!("no watchdog ({error}): a hang of this machine needs a person")),
    }
}
