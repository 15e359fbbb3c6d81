//! Decisions from one number, so that a test that fails can be run again.

/// A stream of decisions. The same number always gives the same stream (splitmix64, Steele et al.
/// 2014).
#[derive(Debug)]
pub(super) struct Dice {
    choice: u64,
    state: u64,
    /// Of 256 changes, how many survive; itself drawn, so that nearly none and nearly all come up.
    odds: u64,
}

/// What a power cut leaves of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Torn {
    /// Nothing at all.
    Nothing,
    /// The first half.
    Start,
    /// The second half, after whatever was there.
    End,
    /// The file's new length, with zeroes where there was nothing.
    Length,
}

impl Dice {
    pub(super) fn new(choice: u64) -> Self {
        let mut dice = Self {
            choice,
            state: choice,
            odds: 0,
        };
        dice.odds = [24, 96, 128, 160, 232][(dice.next() % 5) as usize];
        dice
    }

    /// Whether a change survives.
    pub(super) fn keeps(&mut self) -> bool {
        match self.choice {
            0 => false,
            u64::MAX => true,
            _ => self.next() % 256 < self.odds,
        }
    }

    /// What survives of bytes that weren't kept whole.
    pub(super) fn torn(&mut self) -> Torn {
        if self.choice == 0 {
            return Torn::Nothing;
        }
        match self.next() % 4 {
            0 => Torn::Nothing,
            1 => Torn::Start,
            2 => Torn::End,
            _ => Torn::Length,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
