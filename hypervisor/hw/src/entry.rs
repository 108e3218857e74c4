//! VM entry and exit: the only place where a guest runs.
// UNSAFETY: VMLAUNCH, VMRESUME, and the code that a VM exit jumps to.
#![allow(unsafe_code)]

use crate::core_local::{HYGIENE, KICKED, ROOT_SPEC_CTRL, SELECTOR};
use crate::gap::Gap;
use crate::hygiene::stub;
use crate::vmx_ops::{CurrentVmcs, VmFail};
use core::arch::global_asm;
use spec::cpu::Gprs;

/// What the stub keeps of one vCPU: its general registers, which the VMCS has no place for.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Registers {
    /// The guest's, while it does not run
    pub gprs: Gprs,
    /// What HOST_RSP in the VMCS was last set to, so that it is written only when it changes
    host_rsp: u64,
    /// Whether the VMCS has been launched: VMRESUME, not VMLAUNCH
    launched: u64,
    /// The guest's IA32_SPEC_CTRL while it does not run, where [`crate::hygiene::adopt`] has entries and exits switch it; zero after
    /// reset
    pub spec_ctrl: u32,
}

const _: () = {
    assert!(core::mem::offset_of!(Registers, host_rsp) == 128);
    assert!(core::mem::offset_of!(Registers, launched) == 136);
    assert!(core::mem::offset_of!(Registers, spec_ctrl) == 144);
};

impl Registers {
    /// Forgets the core that the VMCS was on: it was cleared there (SDM vol. 3, "VMCLEAR"), and another stack takes its exits.
    pub fn forget_core(&mut self) {
        self.launched = 0;
        self.host_rsp = 0;
    }

    /// Forgets what HOST_RSP was set to: to be called whenever the VMCS has been filled anew.
    pub fn forget_host_rsp(&mut self) {
        self.host_rsp = 0;
    }
}

/// Linear address where VM exits go: HOST_RIP.
#[must_use]
pub fn exit_address() -> u64 {
    bulkhead_exit as *const () as u64
}

/// How a stay in the guest came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// By a VM exit.
    Exited,
    /// It did not begin: the core was kicked before. Nothing of the guest has changed.
    Kicked,
}

/// Runs the guest of the current VMCS until its next exit, unless the core was kicked.
///
/// # Errors
/// The entry failed before the guest state was looked at; the guest did not run.
///
/// # Safety
/// [`crate::core_local::CoreLocal::install`] was called on this core; interrupts are off; the host-state area describes this
/// core as it runs now, with HOST_RIP at [`exit_address`]; NMIs cause exits, or are the guest's own business; the nested tables
/// and bitmaps grant the guest nothing that is not its own; `registers` belongs to this VMCS.
#[inline]
pub unsafe fn run(vmcs: &CurrentVmcs, registers: &mut Registers) -> Result<Outcome, VmFail> {
    // SAFETY: per contract; the stub keeps to the C calling convention.
    match unsafe { bulkhead_enter(registers) } {
        0 => {
            registers.launched = 1;
            Ok(Outcome::Exited)
        }
        1 => Err(VmFail::Valid(vmcs.instruction_error())),
        2 => Err(VmFail::Invalid),
        _ => Ok(Outcome::Kicked),
    }
}

/// Between the last look at the kick flag and the guest.
pub(crate) fn gap() -> Gap {
    Gap {
        from: &raw const bulkhead_enter_look as u64,
        to: &raw const bulkhead_enter_end as u64,
        out: &raw const bulkhead_enter_kicked as u64,
    }
}

unsafe extern "C" {
    /// Loads the guest's registers and enters it. Returns 0 after a VM exit, 1 for VMfailValid, 2 for VMfailInvalid, 3 if the
    /// core was kicked.
    fn bulkhead_enter(registers: *mut Registers) -> u64;
    /// Where the processor goes on after a VM exit, with RSP as `bulkhead_enter` left it in HOST_RSP, RFLAGS clear.
    fn bulkhead_exit();
    static bulkhead_enter_look: u8;
    static bulkhead_enter_end: u8;
    static bulkhead_enter_kicked: u8;
}

global_asm!(
    ".pushsection .text.bulkhead_enter, \"ax\", @progbits",
    ".global bulkhead_enter, bulkhead_enter_look, bulkhead_enter_end, bulkhead_enter_kicked, bulkhead_exit",
    ".balign 16",
    "bulkhead_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
    "cmp [rdi + 128], rsp",
    "je 2f",
    "mov [rdi + 128], rsp",
    "mov eax, {host_rsp}",
    "vmwrite rax, rsp",
    "2:",
    "test byte ptr gs:[{hygiene}], {switch}",
    "jz 2f",
    "mov eax, [rdi + 144]",
    "cmp eax, gs:[{root}]",
    "je 2f",
    "mov ecx, {spec_ctrl}",
    "xor edx, edx",
    "wrmsr",
    "2:",
    // From here to the end of VMLAUNCH, an NMI goes on at `bulkhead_enter_kicked`, whatever the registers hold by then: all that
    // is needed there is RSP, which stays as it is.
    "bulkhead_enter_look:",
    "cmp byte ptr gs:[{kicked}], 0",
    "jne bulkhead_enter_kicked",
    "test byte ptr gs:[{hygiene}], {verw}",
    "jz 2f",
    // Behind it, memory is read for the guest's own registers only.
    "verw word ptr gs:[{selector}]",
    "2:",
    "cmp qword ptr [rdi + 136], 0",
    // MOV leaves the flags alone, so ZF still says "not launched" below.
    "mov rax, [rdi + 0]",
    "mov rcx, [rdi + 8]",
    "mov rdx, [rdi + 16]",
    "mov rbx, [rdi + 24]",
    "mov rbp, [rdi + 40]",
    "mov rsi, [rdi + 48]",
    "mov r8, [rdi + 64]",
    "mov r9, [rdi + 72]",
    "mov r10, [rdi + 80]",
    "mov r11, [rdi + 88]",
    "mov r12, [rdi + 96]",
    "mov r13, [rdi + 104]",
    "mov r14, [rdi + 112]",
    "mov r15, [rdi + 120]",
    "mov rdi, [rdi + 56]",
    "je 3f",
    "vmresume",
    // Still in the gap: an NMI right here makes a kick of the failure, and the next try fails again.
    "jmp 4f",
    "3:",
    "vmlaunch",
    "bulkhead_enter_end:",
    "4:",
    // Not entered: ZF for VMfailValid, CF for VMfailInvalid.
    "mov r8d, 1",
    "jz 5f",
    "mov r8d, 2",
    "jmp 5f",
    "bulkhead_enter_kicked:",
    "mov r8d, 3",
    "jmp 5f",
    ".balign 16",
    "bulkhead_exit:",
    "push rdi",
    "mov rdi, [rsp + 8]",
    "mov [rdi + 0], rax",
    "mov [rdi + 8], rcx",
    "mov [rdi + 16], rdx",
    "mov [rdi + 24], rbx",
    "mov [rdi + 40], rbp",
    "mov [rdi + 48], rsi",
    "mov [rdi + 64], r8",
    "mov [rdi + 72], r9",
    "mov [rdi + 80], r10",
    "mov [rdi + 88], r11",
    "mov [rdi + 96], r12",
    "mov [rdi + 104], r13",
    "mov [rdi + 112], r14",
    "mov [rdi + 120], r15",
    "pop qword ptr [rdi + 56]",
    "xor r8d, r8d",
    // Entered or not: what is returned is in R8, and IA32_SPEC_CTRL holds the guest's value.
    "5:",
    "pop rdi",
    "test byte ptr gs:[{hygiene}], {switch} | {guard}",
    "jz 8f",
    "test byte ptr gs:[{hygiene}], {switch}",
    "jz 6f",
    "mov ecx, {spec_ctrl}",
    "rdmsr",
    "mov [rdi + 144], eax",
    "cmp eax, gs:[{root}]",
    "jne 9f",
    // IBRS of the older kind has to be written though it is set.
    "test byte ptr gs:[{hygiene}], {rewrite}",
    "jz 6f",
    "9:",
    "mov eax, gs:[{root}]",
    "xor edx, edx",
    "wrmsr",
    "6:",
    "test byte ptr gs:[{hygiene}], {guard}",
    "jz 8f",
    // The return below is then predicted to go to INT3, and not to where the guest wants it.
    "call 7f",
    "int3",
    "7:",
    "add rsp, 8",
    "lfence",
    "8:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "mov eax, r8d",
    "ret",
    ".popsection",
    host_rsp = const spec::vmcs::HOST_RSP.0,
    spec_ctrl = const spec::msr::SPEC_CTRL.0,
    kicked = const KICKED,
    hygiene = const HYGIENE,
    selector = const SELECTOR,
    root = const ROOT_SPEC_CTRL,
    verw = const stub::VERW,
    guard = const stub::RETURN_GUARD,
    switch = const stub::SPEC_CTRL,
    rewrite = const stub::REWRITE,
);
