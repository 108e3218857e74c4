//! Ring 3.

use core::sync::atomic::AtomicU64;

/// The vector by which ring 3 says that it is done.
pub const LEAVE: u8 = 0x20;

/// Where the stack of ring 0 was left.
pub static STACK_POINTER: AtomicU64 = AtomicU64::new(0);

/// As [`attempt!`](crate::attempt), in ring 3 and with interrupts off.
#[macro_export]
macro_rules! attempt_in_user {
    ($($instruction:literal)+ $(, $($operand:tt)*)?) => {
        $crate::attempt!(
            "mov [rip + {stack}], rsp"
            "push {ss}"
            "push [rip + {stack}]"
            "push 2"
            "push {cs}"
            "lea r11, [rip + 78f]"
            "push r11"
            "iretq"
            "78:"
            $($instruction)+
            "int {leave}",
            stack = sym $crate::user::STACK_POINTER,
            ss = const $crate::segments::USER_DATA,
            cs = const $crate::segments::USER_CODE,
            leave = const $crate::user::LEAVE,
            $($($operand)*)?
        )
    };
}
