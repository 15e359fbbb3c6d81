//! rosey: see the library's documentation.

fn main() -> std::process::ExitCode {
    rosey::cli::main()
}
