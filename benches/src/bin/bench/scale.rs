pub(crate) fn run(_: &crate::tools::Tools, _: &[meltemi_bench::wire::Protocol], _: bool, _: &std::path::Path) -> anyhow::Result<Vec<crate::results::Check>> { Ok(vec![]) }
