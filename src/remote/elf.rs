//! Reads of a program file what decides whether it runs on another machine.
//!
//! Facts from elf(5): `e_machine` names the architecture; a program that needs
//! a dynamic loader names it in a `PT_INTERP` header, a static one has none.

use std::fmt;

/// An instruction set, as far as rosey can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    X86,
    X86_64,
    Arm,
    Aarch64,
    Riscv64,
    Powerpc64Le,
    S390x,
    Other(u16),
}

impl Machine {
    fn from_elf(number: u16, little_endian: bool) -> Self {
        match number {
            3 => Self::X86,
            62 => Self::X86_64,
            40 => Self::Arm,
            183 => Self::Aarch64,
            243 => Self::Riscv64,
            21 if little_endian => Self::Powerpc64Le,
            22 => Self::S390x,
            other => Self::Other(other),
        }
    }

    /// Reads what `uname -m` prints.
    pub fn from_uname(word: &str) -> Option<Self> {
        Some(match word {
            "x86_64" | "amd64" => Self::X86_64,
            "i386" | "i486" | "i586" | "i686" => Self::X86,
            "aarch64" | "arm64" => Self::Aarch64,
            "riscv64" => Self::Riscv64,
            "ppc64le" => Self::Powerpc64Le,
            "s390x" => Self::S390x,
            arm if arm.starts_with("arm") => Self::Arm,
            _ => return None,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "i686",
            Self::X86_64 => "x86_64",
            Self::Arm => "arm",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
            Self::Powerpc64Le => "ppc64le",
            Self::S390x => "s390x",
            Self::Other(number) => return write!(f, "ELF machine {number}"),
        })
    }
}

/// What an ELF file says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elf {
    pub machine: Machine,
    /// It needs no loader and no library of the machine that it runs on.
    pub is_static: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    #[error("it is no ELF program")]
    NotElf,
    #[error("its ELF headers are cut off")]
    Truncated,
}

const PROGRAM_HEADER_INTERPRETER: u32 = 3;

impl Elf {
    /// Reads the headers of a program; the rest of the file may be missing.
    pub fn read(bytes: &[u8]) -> Result<Self, ElfError> {
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let wide = match bytes.get(4) {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(ElfError::NotElf),
        };
        let little_endian = match bytes.get(5) {
            Some(1) => true,
            Some(2) => false,
            _ => return Err(ElfError::NotElf),
        };
        let file = Fields {
            bytes,
            little_endian,
        };
        let machine = Machine::from_elf(file.u16(18)?, little_endian);
        let (table, entry_size, entries) = if wide {
            (file.u64(32)?, file.u16(54)?, file.u16(56)?)
        } else {
            (u64::from(file.u32(28)?), file.u16(42)?, file.u16(44)?)
        };
        let table = usize::try_from(table).map_err(|_| ElfError::Truncated)?;
        let mut is_static = true;
        for entry in 0..usize::from(entries) {
            let at = table
                .checked_add(entry * usize::from(entry_size))
                .ok_or(ElfError::Truncated)?;
            if file.u32(at)? == PROGRAM_HEADER_INTERPRETER {
                is_static = false;
            }
        }
        Ok(Self { machine, is_static })
    }
}

struct Fields<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], ElfError> {
        let end = at.checked_add(N).ok_or(ElfError::Truncated)?;
        let slice = self.bytes.get(at..end).ok_or(ElfError::Truncated)?;
        let mut array = [0; N];
        array.copy_from_slice(slice);
        if !self.little_endian {
            array.reverse();
        }
        Ok(array)
    }

    fn u16(&self, at: usize) -> Result<u16, ElfError> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, ElfError> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, ElfError> {
        self.array(at).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with program headers of the given types and nothing else.
    fn program(class: u8, data: u8, machine: u16, headers: &[u32]) -> Vec<u8> {
        let wide = class == 2;
        let little = data == 1;
        let put16 = |v: u16| {
            if little {
                v.to_le_bytes()
            } else {
                v.to_be_bytes()
            }
        };
        let put32 = |v: u32| {
            if little {
                v.to_le_bytes()
            } else {
                v.to_be_bytes()
            }
        };
        let put64 = |v: u64| {
            if little {
                v.to_le_bytes()
            } else {
                v.to_be_bytes()
            }
        };
        let (size, entry) = if wide { (64_usize, 56_usize) } else { (52, 32) };
        let mut bytes = vec![0; size + entry * headers.len()];
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes[4] = class;
        bytes[5] = data;
        bytes[18..20].copy_from_slice(&put16(machine));
        if wide {
            bytes[32..40].copy_from_slice(&put64(size as u64));
            bytes[54..56].copy_from_slice(&put16(entry as u16));
            bytes[56..58].copy_from_slice(&put16(headers.len() as u16));
        } else {
            bytes[28..32].copy_from_slice(&put32(size as u32));
            bytes[42..44].copy_from_slice(&put16(entry as u16));
            bytes[44..46].copy_from_slice(&put16(headers.len() as u16));
        }
        for (i, kind) in headers.iter().enumerate() {
            let at = size + i * entry;
            bytes[at..at + 4].copy_from_slice(&put32(*kind));
        }
        bytes
    }

    #[test]
    fn architecture_and_loader_are_read() {
        let cases = [
            (program(2, 1, 62, &[1, 1, 2]), Machine::X86_64, true),
            (program(2, 1, 62, &[6, 3, 1]), Machine::X86_64, false),
            (program(2, 1, 183, &[1]), Machine::Aarch64, true),
            (program(1, 1, 3, &[1, 3]), Machine::X86, false),
            (program(1, 1, 40, &[1]), Machine::Arm, true),
            (program(2, 2, 22, &[1, 3]), Machine::S390x, false),
            (program(2, 1, 21, &[1]), Machine::Powerpc64Le, true),
            (program(2, 1, 999, &[1]), Machine::Other(999), true),
        ];
        for (bytes, machine, is_static) in cases {
            assert_eq!(Elf::read(&bytes), Ok(Elf { machine, is_static }));
        }
    }

    #[test]
    fn what_is_no_program_is_told_apart_from_what_is_cut_off() {
        assert_eq!(Elf::read(b"#!/bin/sh\n"), Err(ElfError::NotElf));
        assert_eq!(Elf::read(b""), Err(ElfError::NotElf));
        let whole = program(2, 1, 62, &[1, 3]);
        for length in 6..whole.len() - 52 {
            assert_eq!(
                Elf::read(&whole[..length]),
                Err(ElfError::Truncated),
                "{length}"
            );
        }
    }

    #[test]
    fn uname_and_elf_agree() {
        assert_eq!(Machine::from_uname("x86_64"), Some(Machine::X86_64));
        assert_eq!(Machine::from_uname("armv7l"), Some(Machine::Arm));
        assert_eq!(Machine::from_uname("arm64"), Some(Machine::Aarch64));
        assert_eq!(Machine::from_uname("i686"), Some(Machine::X86));
        assert_eq!(Machine::from_uname("vax"), None);
    }
}
