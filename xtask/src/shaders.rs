pub fn command(_: &crate::Flags) -> anyhow::Result<()> {
    Ok(())
}
