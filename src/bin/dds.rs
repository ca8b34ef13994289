//! The program dds: the changed chunks of a snapshot as a stream, and a stream written to a device.

fn main() -> std::process::ExitCode {
    svcmgr::dds::main()
}
