//! The board: reset, read-only flash, a console and an exit by semihosting,
//! which QEMU and debuggers answer. All `unsafe` of the example is here.
//!
//! The program has a function `main`, which is given the one block of memory,
//! and says in `ARENA` how many bytes that has.

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr::{addr_of_mut, read_volatile, write_volatile};
use core::sync::atomic::{AtomicUsize, Ordering};

// The vectors: where the stack begins, reset, and one handler for all the rest.
// Reset turns the FPU on (CPACR: full access to coprocessors 10 and 11), which
// must come before any float, and clears the memory of statics.
global_asm!(
    ".section .vectors,\"a\"",
    ".word __stack_top",
    ".word reset",
    ".rept 14",
    ".word fault",
    ".endr",
    ".section .text.reset,\"ax\"",
    ".syntax unified",
    ".thumb_func",
    ".global reset",
    "reset:",
    "ldr r0, =0xE000ED88",
    "ldr r1, [r0]",
    "orr r1, r1, #0xF00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "1: cmp r0, r1",
    "bhs 2f",
    "str r2, [r0], #4",
    "b 1b",
    "2: bl start",
);

/// Bytes of the one block of memory.
static mut ARENA: Arena = Arena([0; super::ARENA]);

#[repr(align(8))]
struct Arena([u8; super::ARENA]);

/// The address of the write that is expected to be refused, or 0.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    protect_flash();
    // SAFETY: reset comes here once, and nothing else names the arena.
    super::main(unsafe { &mut (*addr_of_mut!(ARENA)).0 })
}

/// Makes the code memory, models included, read-only by the memory protection
/// unit (ARMv7-M Architecture Reference Manual, B3.5): QEMU's is not by itself.
fn protect_flash() {
    const MPU_CTRL: usize = 0xE000_ED94;
    const MPU_RNR: usize = 0xE000_ED98;
    const MPU_RBAR: usize = 0xE000_ED9C;
    const MPU_RASR: usize = 0xE000_EDA0;
    const READ_ONLY: u32 = 0b110 << 24;
    const SIZE_4_MB: u32 = 21 << 1; // 2^(21 + 1) bytes
    const ENABLE: u32 = 1;
    const DEFAULT_MAP_ELSEWHERE: u32 = 1 << 2;
    let set = |register: usize, value: u32| {
        // SAFETY: registers of the MPU, which every Cortex-M4 of this board has.
        unsafe { write_volatile(register as *mut u32, value) }
    };
    set(MPU_RNR, 0);
    set(MPU_RBAR, 0);
    set(MPU_RASR, READ_ONLY | SIZE_4_MB | ENABLE);
    set(MPU_CTRL, DEFAULT_MAP_ELSEWHERE | ENABLE);
    // SAFETY: barriers, so that the next instruction runs under the new rule.
    unsafe { asm!("dsb", "isb") }
}

/// Writes to a model, and ends well if that is refused and only then: the proof
/// that all before this was done with the models in read-only memory.
pub fn end_by_writing_to(model: &[u8]) -> ! {
    let address = model.as_ptr().addr();
    EXPECTED.store(address, Ordering::Relaxed);
    // SAFETY: no write that Rust could know of. It is refused, or the program ends behind it.
    unsafe { asm!("str {0}, [{0}]", "dsb", in(reg) address) }
    Console::open().write_bytes(b"the models are not in read-only memory\n");
    exit(false)
}

/// Where every exception goes: a fault, save the one that is expected.
#[unsafe(no_mangle)]
extern "C" fn fault() -> ! {
    const CFSR: *const u32 = 0xE000_ED28 as *const u32;
    const MMFAR: *const usize = 0xE000_ED34 as *const usize;
    /// A forbidden read or write of data, whose address is in MMFAR.
    const REFUSED: u32 = 1 << 7 | 1 << 1;
    // SAFETY: registers that every Cortex-M4 has; reading changes nothing.
    let (cause, address) = unsafe { (read_volatile(CFSR), read_volatile(MMFAR)) };
    let expected = EXPECTED.load(Ordering::Relaxed);
    if cause == REFUSED && expected != 0 && address == expected {
        Console::open().write_bytes(b"flash refused a write\n");
        exit(true);
    }
    let _ = writeln!(Console::open(), "fault: CFSR {cause:#x}, MMFAR {address:#x}");
    exit(false)
}

/// The host's console.
pub struct Console(usize);

impl Console {
    const OPEN: usize = 1;
    const WRITE: usize = 5;

    pub fn open() -> Self {
        const FOR_WRITING: usize = 4;
        let name = c":tt";
        Self(call(Self::OPEN, &[name.as_ptr().addr(), FOR_WRITING, name.count_bytes()]))
    }

    pub fn write_bytes(&mut self, bytes: &[u8]) {
        call(Self::WRITE, &[self.0, bytes.as_ptr().addr(), bytes.len()]);
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes());
        Ok(())
    }
}

/// Ends the program; the host sees 0 or 1.
pub fn exit(well: bool) -> ! {
    const EXIT_EXTENDED: usize = 0x20;
    const APPLICATION_EXIT: usize = 0x20026;
    loop {
        call(EXIT_EXTENDED, &[APPLICATION_EXIT, usize::from(!well)]);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console::open(), "{info}");
    exit(false)
}

/// A semihosting call: an operation and its block of arguments.
fn call(operation: usize, arguments: &[usize]) -> usize {
    let result;
    // SAFETY: the host answers the breakpoint: it reads the arguments, and what
    // they point at, which is borrowed for as long.
    unsafe { asm!("bkpt #0xAB", inout("r0") operation => result, in("r1") arguments.as_ptr()) }
    result
}
