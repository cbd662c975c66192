//! To be written.
pub(crate) fn demo(
    _: &crate::cli::DemoArguments,
    _: &meltemi_controller::Builtins,
) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
