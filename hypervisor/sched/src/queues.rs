//! Where each vCPU waits.

use crate::account::State;
use crate::heap::Heap;
use crate::scheduler::Scheduler;
use crate::vcpu::{NEVER, Queue};

impl Scheduler {
    /// It wants to run, since `at`.
    #[inline]
    pub(crate) fn rouse(&mut self, id: u16, at: u64) {
        let (owns, mut cost) = (self.spot.owner == Some(id), self.wake_cost);
        let Some(Some(vcpu)) = self.vcpus.get_mut(usize::from(id)) else {
            return;
        };
        vcpu.ready = true;
        vcpu.woke = at;
        vcpu.timer = NEVER;
        if let Some(server) = &mut vcpu.server
            && server.wake(at, cost)
        {
            cost = 0;
        }
        if owns {
            if vcpu.has_windows_only() {
                vcpu.account.enter(State::Throttled, at);
            }
            // A window may have begun since then.
            let at = at.max(self.spot.start);
            vcpu.account.enter(State::Waiting, at);
        } else {
            vcpu.account.enter(vcpu.state(false), at);
        }
        if vcpu.share.weight.is_some() {
            // With a budget left, too: no left-over time passes until that is spent, and none of its claim is lost.
            self.fair.join(id, cost);
        }
        self.queue(id);
        self.stands = false;
    }

    /// It does not want to run, until the clock shows `timer`. Says whether it is there.
    #[inline]
    pub(crate) fn rest(&mut self, id: u16, timer: u64, now: u64) -> bool {
        let Some(Some(vcpu)) = self.vcpus.get_mut(usize::from(id)) else {
            return false;
        };
        vcpu.timer = timer;
        if vcpu.ready {
            vcpu.ready = false;
            vcpu.account.enter(State::Blocked, now);
            if vcpu.share.weight.is_some() {
                self.fair.leave(id);
            }
            if self.running.is_some_and(|(running, _)| running == id) {
                self.running = None;
            }
        }
        self.queue(id);
        self.stands = false;
        true
    }

    /// Puts it where it belongs among those that wait for the clock or by their deadlines.
    #[inline]
    pub(crate) fn queue(&mut self, id: u16) {
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        let (queue, key) = vcpu.belongs();
        if queue != vcpu.queue || queue != Queue::None {
            self.requeue(id, queue, key);
        }
    }

    fn requeue(&mut self, id: u16, queue: Queue, key: u64) {
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        let before = core::mem::replace(&mut vcpu.queue, queue);
        if before != queue
            && let Some(heap) = self.heap(before)
        {
            heap.remove(id);
        }
        if let Some(heap) = self.heap(queue) {
            heap.put(id, key);
        }
    }

    #[inline]
    fn heap(&mut self, queue: Queue) -> Option<&mut Heap> {
        match queue {
            Queue::None => None,
            Queue::Deadlines => Some(&mut self.deadlines),
            Queue::Alarms => Some(&mut self.alarms),
            Queue::Timers => Some(&mut self.timers),
        }
    }

    /// Puts the time from `at` on into the right account of one that does not run.
    pub(crate) fn settle(&mut self, id: u16, at: u64) {
        let owns = self.spot.owner == Some(id);
        if self.running.is_some_and(|(running, _)| running == id) {
            return;
        }
        if let Some(vcpu) = self.vcpu(id) {
            vcpu.account.enter(vcpu.state(owns), at);
        }
    }
}
