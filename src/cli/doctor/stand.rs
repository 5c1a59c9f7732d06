//! Where a stage stands, in its own process: its flags, whom it tells, its device.

use anyhow::Result;
use serde_json::Value;

use super::args::{DoctorArgs, Fault, Stage};
use super::line::Line;
use crate::cli::args::Inspect;
use crate::cli::session::Session;
use crate::gpu::{Gpu, Policy, Tuning};

pub(super) struct Stand<'a> {
    pub(super) session: &'a Session,
    pub(super) args: &'a DoctorArgs,
    pub(super) stage: Stage,
}

impl Stand<'_> {
    pub(super) fn is_planted(&self, fault: Fault) -> bool {
        self.args.is_planted(self.stage, fault)
    }

    fn tell(&self, line: Line) -> Result<()> {
        self.session.printer.object(&line)
    }

    pub(super) fn doing(&self, what: impl Into<String>) -> Result<()> {
        self.tell(Line::Doing(what.into()))
    }

    pub(super) fn field(&self, name: &str, value: Value) -> Result<()> {
        self.tell(Line::Field(name.into(), value))
    }

    pub(super) fn row(&self, list: &str, row: Value) -> Result<()> {
        self.tell(Line::Row(list.into(), row))
    }

    pub(super) fn wrong(&self, what: impl Into<String>) -> Result<()> {
        self.tell(Line::Wrong(what.into()))
    }

    pub(super) fn summary(&self, found: impl Into<String>) -> Result<()> {
        self.tell(Line::Summary(found.into()))
    }

    /// The device as other commands open it, or under a policy as it is shipped.
    pub(super) async fn gpu(&self, policy: Option<Policy>) -> Result<Gpu> {
        match policy {
            None => self.opened(self.session.gpu(Inspect::default(), None).await?),
            Some(policy) => self.open(policy, Tuning::Shipped).await,
        }
    }

    /// The device that can run whatever a measurement may choose.
    pub(super) async fn measured_gpu(&self) -> Result<Gpu> {
        self.open(Policy::Auto, Tuning::Measuring).await
    }

    async fn open(&self, policy: Policy, tuning: Tuning) -> Result<Gpu> {
        self.opened(self.session.open(Inspect::default(), policy, tuning).await?)
    }

    fn opened(&self, gpu: Gpu) -> Result<Gpu> {
        if self.is_planted(Fault::Lost) {
            gpu.destroy();
        }
        Ok(gpu)
    }
}
