//! Reading a configuration beside the data plane.
//!
//! Owns: the thread on which a text becomes values, at a low priority. Leaves to others: what is made of them (`plan`).
//! Invariants: a text of any size keeps no worker from a request and no health check from its time, also where there are
//! as many workers as cores; nothing else runs on that thread, for threads that it began would have its priority.

use evenkeel_config::balancer::Config;
use tokio::sync::oneshot;

use crate::plan::PlanError;

/// By how much a worker comes before it: a tenth of a worker's weight where both would run.
const NICER: i32 = 10;

/// Reads the text of a file called `file_name`.
///
/// # Errors
/// Everything that is wrong with the text, or that the system grants no thread.
pub(crate) async fn read(file_name: String, text: String) -> Result<Config, PlanError> {
    let (told, read) = oneshot::channel();
    let reading = std::thread::Builder::new().name("reading".into()).spawn(move || {
        if let Err(error) = rustix::process::setpriority_process(None, NICER) {
            tracing::debug!(%error, "the configuration is read at the priority of workers");
        }
        // Who waits for it may have gone.
        let _ = told.send(Config::parse(&file_name, &text));
    });
    reading.map_err(PlanError::Thread)?;
    // The thread ends without a word only by a fault of its own.
    read.await.map_err(|_| PlanError::Stopping)?.map_err(PlanError::Config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
    }

    #[test]
    fn a_text_is_read_as_elsewhere_and_the_thread_that_asks_keeps_its_priority() {
        let text = "[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"app\"\n[[pool]]\nname=\"app\"\n\
                    [[pool.server]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\n";
        let before = rustix::process::getpriority_process(None).unwrap();
        let config = run(read("balancer.toml".into(), text.into())).unwrap();
        assert_eq!(config.pools()[0].servers.len(), 1);
        let errors = run(read("balancer.toml".into(), "nonsense".into())).unwrap_err().sentences();
        assert!(errors[0].contains("balancer.toml"), "{errors:?}");
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
    }
}
