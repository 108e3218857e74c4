//! What a guest has printed, for those who listen later or more slowly than it prints.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that are kept for a listener.
pub(super) const KEPT: usize = 64 << 10;

/// The last bytes of a stream. Whoever adds to it never waits; each listener takes from it at its own speed.
#[derive(Default)]
pub(super) struct Scrollback {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    kept: VecDeque<u8>,
    /// Bytes that there have ever been
    total: u64,
    closed: bool,
}

/// What a listener gets.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// Nothing yet
    Nothing,
    /// Nothing any more
    Closed,
}

/// How far a listener has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Place(u64);

impl Scrollback {
    pub(super) fn add(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.total += bytes.len() as u64;
        state.kept.extend(bytes);
        let beyond = state.kept.len().saturating_sub(KEPT);
        state.kept.drain(..beyond);
        drop(state);
        self.more.notify_all();
    }

    /// After this listeners come to their end.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.more.notify_all();
    }

    /// What has come since a listener's place, as far as it is kept, after a wait for the first byte.
    pub(super) fn take(&self, place: &mut Place, patience: Duration) -> Piece {
        let nothing_new = |state: &mut State| state.total == place.0 && !state.closed;
        let waited = self
            .more
            .wait_timeout_while(self.state(), patience, nothing_new);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let oldest = state.total - state.kept.len() as u64;
        let from = usize::try_from(place.0.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = state.kept.iter().skip(from).copied().collect();
        place.0 = state.total;
        match (bytes.is_empty(), state.closed) {
            (false, _) => Piece::Bytes(bytes),
            (true, true) => Piece::Closed,
            (true, false) => Piece::Nothing,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(scrollback: &Scrollback, place: &mut Place) -> Piece {
        scrollback.take(place, Duration::ZERO)
    }

    #[test]
    fn each_listener_gets_all_that_is_kept_and_then_what_comes() {
        let scrollback = Scrollback::default();
        scrollback.add(b"one");
        let (mut early, mut late) = (Place::default(), Place::default());
        assert_eq!(take(&scrollback, &mut early), Piece::Bytes(b"one".to_vec()));
        assert_eq!(take(&scrollback, &mut early), Piece::Nothing);
        scrollback.add(b"two");
        assert_eq!(take(&scrollback, &mut early), Piece::Bytes(b"two".to_vec()));
        assert_eq!(
            take(&scrollback, &mut late),
            Piece::Bytes(b"onetwo".to_vec())
        );
        scrollback.close();
        assert_eq!(take(&scrollback, &mut late), Piece::Closed);
    }

    #[test]
    fn only_what_is_beyond_the_kept_bytes_is_lost() {
        let scrollback = Scrollback::default();
        let mut place = Place::default();
        let stream: Vec<u8> = (0..3 * KEPT).map(|at| (at / 256) as u8).collect();
        for piece in stream.chunks(1000) {
            scrollback.add(piece);
        }
        let Piece::Bytes(bytes) = take(&scrollback, &mut place) else {
            unreachable!("there is something to take");
        };
        assert_eq!(bytes, stream[2 * KEPT..]);
    }

    #[test]
    fn what_came_before_the_end_is_taken_after_it() {
        let scrollback = Scrollback::default();
        scrollback.add(b"last words");
        scrollback.close();
        let mut place = Place::default();
        assert_ne!(take(&scrollback, &mut place), Piece::Closed);
        assert_eq!(take(&scrollback, &mut place), Piece::Closed);
    }
}
