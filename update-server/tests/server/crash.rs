//! kill -9 under load: what was acknowledged is there afterwards.

use std::sync::Arc;

use evenkeel_protocol::DeviceDetail;
use tokio::sync::mpsc;

use crate::support::{DEADLINE, Device, Server};

/// Kills; each falls at another point of the journal's and the index's work.
const ROUNDS: u64 = 8;

const DEVICES: u8 = 4;

/// Reports that are acknowledged before the kill of a round, more in each.
const REPORTS: u64 = 15;

/// I7: an acknowledged report survives kill -9 at any moment, also when the index is lost.
#[tokio::test]
async fn i7_no_acknowledged_report_is_lost_to_kill_9_under_load() {
    let mut server = Server::start();
    let mut devices = Vec::new();
    for seed in 0..DEVICES {
        devices.push(Arc::new(server.new_device(seed).await));
    }
    let mut acknowledged = vec![Vec::new(); devices.len()];
    for round in 1..=ROUNDS {
        load_then_kill(&mut server, &devices, &mut acknowledged, REPORTS + 7 * round).await;
        if round % 3 == 0 {
            std::fs::remove_dir_all(server.folder.join("store").join("index")).unwrap();
        }
        server.restart_after_kill();
        for (device, acknowledged) in devices.iter().zip(&acknowledged) {
            let detail: DeviceDetail = server.read(&format!("/api/devices/{}", device.id())).await;
            let mut stored: Vec<_> = detail.reports.iter().map(|received| received.report.sequence).collect();
            stored.reverse();
            let lost: Vec<_> = acknowledged.iter().filter(|sequence| !stored.contains(sequence)).collect();
            assert!(lost.is_empty(), "round {round}: reports {lost:?} of device {} are lost", device.id());
            assert!(stored.is_sorted(), "{stored:?}");
        }
    }
}

/// Lets every device report as fast as it can, and kills the server after so many acknowledgements.
async fn load_then_kill(
    server: &mut Server,
    devices: &[Arc<Device>],
    acknowledged: &mut [Vec<u64>],
    kill_after: u64,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let address = server.address;
    for (index, device) in devices.iter().enumerate() {
        let (device, sender) = (Arc::clone(device), sender.clone());
        tokio::spawn(async move {
            while let Some(sequence) = device.try_report(address).await {
                sender.send((index, sequence)).unwrap();
            }
        });
    }
    drop(sender);
    let mut count = 0;
    while let Some((index, sequence)) =
        tokio::time::timeout(DEADLINE, receiver.recv()).await.expect("no acknowledgement in time")
    {
        acknowledged[index].push(sequence);
        count += 1;
        if count == kill_after {
            server.kill();
        }
    }
    assert!(count >= kill_after, "the server broke off by itself after {count} reports");
}
