//! The program is one static file, which runs on a server whatever libraries that has.

use rosey::remote::{Elf, Machine};

#[test]
fn the_program_needs_no_loader_and_no_library() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_rosey")).expect("the program can be read");
    let elf = Elf::read(&program).expect("it is an ELF file");
    assert!(
        elf.is_static,
        "it names a loader (PT_INTERP): was it built without .cargo/config.toml?"
    );
    assert_eq!(
        Some(elf.machine),
        Machine::from_uname(std::env::consts::ARCH)
    );
}
