//! placeholder
use super::args::BenchArgs;
use super::model::Session;
pub(super) async fn run(_: &Session, _: &BenchArgs) -> anyhow::Result<()> {
    Ok(())
}
