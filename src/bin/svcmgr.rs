//! The program; its name (argv[0]) decides what it does.

fn main() -> std::process::ExitCode {
    svcmgr::cli::main()
}
