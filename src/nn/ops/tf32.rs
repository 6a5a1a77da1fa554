//! TF32: float32 convolutions and products on NVIDIA GPUs whose factors are rounded to 11 significant bits first.
//!
//! libtorch has one setting for the whole process, so passes of networks that need it differently take turns.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::base::locked;

static TURNS: Turns = Turns::new(set);

/// Whether TF32 is allowed, and the passes that rely on it.
#[derive(Debug)]
struct Setting {
    /// Unknown until it is first set: libtorch begins with TF32 in convolutions and without it in other products.
    allowed: Option<bool>,
    passes: usize,
}

/// The setting, and what makes it so.
#[derive(Debug)]
struct Turns {
    setting: Mutex<Setting>,
    over: Condvar,
    set: fn(bool),
}

impl Turns {
    const fn new(set: fn(bool)) -> Self {
        Self { setting: Mutex::new(Setting { allowed: None, passes: 0 }), over: Condvar::new(), set }
    }

    /// The setting once no pass needs another one.
    fn setting_for(&self, allowed: bool) -> MutexGuard<'_, Setting> {
        let is_taken = |setting: &mut Setting| setting.passes > 0 && setting.allowed != Some(allowed);
        self.over.wait_while(locked(&self.setting), is_taken).unwrap_or_else(PoisonError::into_inner)
    }

    fn allow(&self, allowed: bool) {
        let mut setting = self.setting_for(allowed);
        (self.set)(allowed);
        setting.allowed = Some(allowed);
    }

    fn begin(&'static self, allowed: bool) -> Tf32Pass {
        let mut setting = self.setting_for(allowed);
        if setting.allowed != Some(allowed) {
            (self.set)(allowed);
            setting.allowed = Some(allowed);
        }
        setting.passes += 1;
        Tf32Pass(self)
    }
}

/// A pass of a network, during which the setting stays as it is; it is over when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Tf32Pass(&'static Turns);

impl Tf32Pass {
    /// Begins a pass with TF32 or without it, once those of the other kind are over. While a thread holds one, it must
    /// neither begin one of the other kind nor call [`allow_tf32`] for it: it would wait for itself.
    pub fn begin(allowed: bool) -> Self {
        TURNS.begin(allowed)
    }
}

impl Drop for Tf32Pass {
    fn drop(&mut self) {
        let mut setting = locked(&self.0.setting);
        setting.passes -= 1;
        if setting.passes == 0 {
            self.0.over.notify_all();
        }
    }
}

/// Whether TF32 is allowed from now on, until this is called again or a [`Tf32Pass`] begins that needs it otherwise. Waits
/// for passes of the other kind. In its convolutions, libtorch allows it until told not to.
pub fn allow_tf32(allowed: bool) {
    TURNS.allow(allowed);
}

/// Without libtorch there is nothing to set.
fn set(allowed: bool) {
    #[cfg(feature = "libtorch")]
    super::libtorch::allow_tf32(allowed);
    #[cfg(not(feature = "libtorch"))]
    let _ = allowed;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn passes_that_need_it_differently_take_turns() {
        static ALLOWED: AtomicBool = AtomicBool::new(false);
        static OVER: AtomicBool = AtomicBool::new(false);
        static OWN: Turns = Turns::new(|allowed| ALLOWED.store(allowed, Ordering::SeqCst));
        let [first, second] = [OWN.begin(true), OWN.begin(true)];
        let other = thread::spawn(|| {
            let _pass = OWN.begin(false);
            assert!(OVER.load(Ordering::SeqCst) && !ALLOWED.load(Ordering::SeqCst));
        });
        drop(first);
        thread::sleep(Duration::from_millis(50));
        assert!(ALLOWED.load(Ordering::SeqCst));
        OVER.store(true, Ordering::SeqCst);
        drop(second);
        other.join().unwrap();
        // What is set between passes does not last into the next.
        OWN.allow(true);
        let _pass = OWN.begin(false);
        assert!(!ALLOWED.load(Ordering::SeqCst));
    }
}
