//! A part of the data, as `5%`.

/// In millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(1_000_000);

    /// `5%`, `0.5 %` or `5`. `None`: it is nothing between 0 and 100.
    pub fn parse(text: &str) -> Option<Self> {
        let number: f64 = text.trim().trim_end_matches('%').trim_end().parse().ok()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 1000000
        let share = |n: f64| Self((n * 10_000.0).round() as u64);
        (0.0..=100.0).contains(&number).then(|| share(number))
    }

    /// None of it.
    pub fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Of so many bytes, or whatever they are.
    pub fn of(self, size: u64) -> u64 {
        u64::try_from(u128::from(size) * u128::from(self.0) / 1_000_000).unwrap_or(size)
    }

    /// Those of `all` whose turn it is, spread evenly; `seed` says where to begin.
    pub fn sample<T>(self, all: impl Iterator<Item = T>, seed: u64) -> impl Iterator<Item = T> {
        let mut due = seed % Self::ALL.0;
        all.filter(move |_| {
            due += self.0;
            let turn = due >= Self::ALL.0;
            due -= if turn { Self::ALL.0 } else { 0 };
            turn
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!(["5%", " 0.5 % ", "100", "0"].map(Share::parse), [50_000, 5_000, 1_000_000, 0].map(|n| Some(Share(n))));
        assert_eq!(["101%", "-1", "all", "nan", ""].map(Share::parse), [None; 5]);
    }

    #[test]
    fn a_sample_is_spread_evenly() {
        let tenth = Share(100_000);
        assert_eq!(Share::ALL.sample(0..100, 7).count(), 100);
        for seed in [0, 999_999, 123_456_789] {
            let some: Vec<i32> = tenth.sample(0..100, seed).collect();
            assert_eq!(some.len(), 10, "{seed}");
            assert!(some.windows(2).all(|w| matches!(w, [a, b] if b - a == 10)), "{some:?}");
        }
        assert_ne!(tenth.sample(0..100, 0).next(), tenth.sample(0..100, 500_000).next());
    }
}
