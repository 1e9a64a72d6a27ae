//! The `bowline` program. Everything it does lives in `bowline-cli`.

fn main() -> std::process::ExitCode {
    bowline_cli::main()
}
