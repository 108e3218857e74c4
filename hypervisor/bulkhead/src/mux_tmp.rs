use alloc::collections::VecDeque;
use spec::{Hz, Ticks};
pub(crate) struct Mux {
    out: VecDeque<u8>,
    mid: bool,
}
pub(crate) enum Typed {
    Nothing,
    ToVm(usize, u8),
    Command(()),
}
impl Mux {
    pub(crate) fn new(_: &[&str], _: Hz) -> Self {
        Self {
            out: VecDeque::new(),
            mid: false,
        }
    }
    pub(crate) fn typed(&mut self, b: u8, _: Ticks) -> Typed {
        Typed::ToVm(0, b)
    }
    pub(crate) fn room(&self, _: usize) -> usize {
        8192usize.saturating_sub(self.out.len())
    }
    pub(crate) fn vm_output(&mut self, _: usize, b: &[u8], _: Ticks) {
        self.out.extend(b);
        if let Some(l) = b.last() {
            self.mid = *l != b'\n';
        }
    }
    pub(crate) fn log_line(&mut self, l: &str) {
        if self.mid {
            self.out.extend(b"\r\n");
        }
        self.mid = false;
        self.out.extend(l.bytes());
        self.out.extend(b"\r\n");
    }
    pub(crate) fn takes_log(&self) -> bool {
        true
    }
    pub(crate) fn pop(&mut self) -> Option<u8> {
        self.out.pop_front()
    }
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }
    pub(crate) fn tick(&mut self, _: Ticks) -> Option<Ticks> {
        None
    }
    pub(crate) fn answer(&mut self, _: &()) {}
}
