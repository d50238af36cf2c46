//! The page of metrics, in the text form of Prometheus or of OpenMetrics.
//!
//! Owns: walking over the running plan for each family. Leaves to others: which families there are (`families`), their
//! text (`io/telemetry`). Invariant: a family of which nothing in the plan could have a sample is not on the page.

use evenkeel_config::balancer::Server;
use evenkeel_telemetry::{Exposition, Family, Form, Value};
use evenkeel_units::Instant;

use crate::{
    admin::{
        control::Running,
        families::{FAMILIES, Label, Read, Which},
    },
    latency::Latency,
    plan::Plan,
    pool::{discovery::State, ports::Towards},
    shared::{Count, ListenerShared, ListenerTally, PoolShared, ServerShared, ServerTally},
    tls::files::Certificate,
};

/// The page.
pub(crate) fn page(running: &Running, form: Form) -> String {
    let plan = running.plan();
    let mut page = Page { running, plan: &plan, out: Exposition::of(form) };
    for row in FAMILIES {
        page.add(row.family, &row.read);
    }
    page.out.finish()
}

/// A page in the making.
struct Page<'a> {
    running: &'a Running,
    plan: &'a Plan,
    out: Exposition,
}

impl Page<'_> {
    fn add(&mut self, family: Family, read: &Read) {
        match read {
            Read::Version => {
                self.out.family(family).sample(&[("version", self.running.version)], true);
            }
            Read::Process(value) => {
                self.out.family(family).sample(&[], value(self.running, self.plan));
            }
            Read::ProcessBy(label, value) => {
                let mut samples = self.out.family(family);
                for (at, word) in (label.words)().iter().enumerate() {
                    samples.sample(&[(label.name, word)], value(self.plan, at));
                }
            }
            Read::Listener(which, count) => self.listeners(family, *which, *count),
            Read::ListenerBy(which, label, count) => self.listeners_by(family, *which, label, *count),
            Read::Took => self.took(family),
            Read::Certificate(value) => self.certificates(family, *value),
            Read::Server(count) => self.servers(family, |server, _| server.sum(*count).into()),
            Read::ServerBy(label, count) => self.servers_by(family, label, *count),
            Read::ServerState(value) => self.servers(family, value),
            Read::Way(count) => self.ways(family, *count),
            Read::PoolBy(label, count) => self.pools_by(family, label, *count),
            Read::Discovery(value) => self.discoveries(family, *value),
        }
    }

    /// The listeners at which something is counted.
    fn at(&self, which: Which) -> Vec<&ListenerShared> {
        let listeners = self.plan.listeners.iter().zip(self.plan.config.listeners());
        let there = listeners.filter(|(planned, listener)| which.is(planned, listener));
        there.map(|(planned, _)| &*planned.shared).collect()
    }

    fn listeners(&mut self, family: Family, which: Which, count: fn(&ListenerTally) -> &Count) {
        let values: Vec<_> =
            self.at(which).iter().map(|shared| (shared.name.clone(), shared.sum(count))).collect();
        if values.is_empty() {
            return;
        }
        let mut samples = self.out.family(family);
        for (name, value) in values {
            samples.sample(&[("listener", &name)], value);
        }
    }

    fn listeners_by(
        &mut self,
        family: Family,
        which: Which,
        label: &Label,
        count: fn(&ListenerTally, usize) -> &Count,
    ) {
        let words = (label.words)();
        let mut values = Vec::new();
        for shared in self.at(which) {
            for (at, word) in words.iter().enumerate() {
                values.push((shared.name.clone(), word, shared.sum(|tally| count(tally, at))));
            }
        }
        if values.is_empty() {
            return;
        }
        let mut samples = self.out.family(family);
        for (name, word, value) in values {
            samples.sample(&[("listener", &name), (label.name, word)], value);
        }
    }

    fn took(&mut self, family: Family) {
        let mut samples = self.out.family(family);
        for planned in &self.plan.listeners {
            let parts: Vec<_> = planned.shared.tallies.iter().map(|tally| &tally.took).collect();
            let (rows, sum) = Latency::histogram(&parts);
            samples.buckets(&[("listener", &planned.shared.name)], rows, sum);
        }
    }

    fn certificates(&mut self, family: Family, value: fn(&Certificate) -> Value) {
        let mut fronts =
            self.plan.listeners.iter().filter_map(|one| Some((&one.shared, one.tls.as_ref()?))).peekable();
        if fronts.peek().is_none() {
            return;
        }
        let mut samples = self.out.family(family);
        for (shared, front) in fronts {
            let table = front.certificates.table();
            for certificate in table.certificates.iter().filter(|one| !one.is_self_made) {
                let labels = [("listener", shared.name.as_str()), ("certificate", &certificate.file)];
                samples.sample(&labels, value(certificate));
            }
        }
    }

    fn servers(&mut self, family: Family, value: impl Fn(&ServerShared, &Server) -> Value) {
        let mut samples = self.out.family(family);
        for (told, pool) in self.plan.config.pools().iter().zip(&self.plan.pools) {
            for (told, server) in told.servers.iter().zip(&pool.servers) {
                samples.sample(&[("pool", &pool.name), ("server", &server.name)], value(server, told));
            }
        }
    }

    fn servers_by(&mut self, family: Family, label: &Label, count: fn(&ServerTally, usize) -> &Count) {
        let words = (label.words)();
        let mut samples = self.out.family(family);
        for pool in &self.plan.pools {
            for server in &pool.servers {
                for (at, word) in words.iter().enumerate() {
                    let labels = [("pool", pool.name.as_str()), ("server", &server.name), (label.name, word)];
                    samples.sample(&labels, server.sum(|tally| count(tally, at)));
                }
            }
        }
    }

    fn ways(&mut self, family: Family, count: fn(&Towards) -> u64) {
        let mut samples = self.out.family(family);
        for pool in &self.plan.pools {
            for (server, ways) in pool.servers.iter().zip(&pool.ways) {
                let labels = [("pool", pool.name.as_str()), ("server", &server.name)];
                samples.sample(&labels, ways.iter().map(|towards| count(towards)).sum::<u64>());
            }
        }
    }

    fn pools_by(&mut self, family: Family, label: &Label, count: fn(&PoolShared, usize) -> u64) {
        let words = (label.words)();
        let mut samples = self.out.family(family);
        for pool in &self.plan.pools {
            for (at, word) in words.iter().enumerate() {
                samples.sample(&[("pool", &pool.name), (label.name, word)], count(pool, at));
            }
        }
    }

    fn discoveries(&mut self, family: Family, value: fn(&State, Instant) -> Value) {
        let mut asked = self.plan.discovered.iter().flatten().peekable();
        if asked.peek().is_none() {
            return;
        }
        let now = self.running.clock.now();
        let mut samples = self.out.family(family);
        for discovered in asked {
            samples.sample(&[("pool", &discovered.pool)], value(&discovered.state(), now));
        }
    }
}
