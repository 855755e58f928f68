//! What waits for the thread that looks. Under load it is woken for many at once: a wake for each
//! message would cost more than the look.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long company is waited for, once there is something.
const LINGER: Duration = Duration::from_millis(5);

/// A bounded queue of one reader.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    waiting: Mutex<Waiting<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    messages: Vec<T>,
    is_closed: bool,
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        let waiting = Waiting { messages: Vec::new(), is_closed: false };
        Self { waiting: Mutex::new(waiting), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in, unless `most` wait already; whether it is in.
    pub(super) fn put(&self, message: T, most: usize) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed || most <= waiting.messages.len() {
            return false;
        }
        let was_empty = waiting.messages.is_empty();
        waiting.messages.push(message);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
        true
    }

    /// Takes everything that waits, as soon as there is something, or after `wait`. `None` when it
    /// is closed and empty.
    pub(super) fn take(&self, wait: Duration) -> Option<Vec<T>> {
        let waiting = self.lock();
        let is_quiet = |waiting: &mut Waiting<T>| waiting.messages.is_empty() && !waiting.is_closed;
        let woken = self.filled.wait_timeout_while(waiting, wait, is_quiet);
        let (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        if waiting.messages.is_empty() {
            return (!waiting.is_closed).then(Vec::new);
        }
        let is_closed = waiting.is_closed;
        drop(waiting);
        if !is_closed {
            std::thread::sleep(LINGER);
        }
        Some(std::mem::take(&mut self.lock().messages))
    }

    /// Nothing more comes: the reader ends with what waits.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_its_order_until_it_is_closed() {
        let inbox = Arc::new(Inbox::new());
        let writer = Arc::clone(&inbox);
        let writing = std::thread::spawn(move || {
            for i in 0..1_000 {
                assert!(writer.put(i, 10_000));
            }
            writer.close();
            assert!(!writer.put(0, 10_000));
        });
        let mut all = Vec::new();
        while let Some(some) = inbox.take(Duration::from_secs(10)) {
            all.extend(some);
        }
        writing.join().unwrap();
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn more_than_it_holds_is_refused() {
        let inbox = Inbox::new();
        assert!(inbox.put(1, 2) && inbox.put(2, 2) && !inbox.put(3, 2));
        assert_eq!(inbox.take(Duration::ZERO), Some(vec![1, 2]));
        assert_eq!(inbox.take(Duration::ZERO), Some(vec![]));
    }
}
