//! Durations and shares as people write them: `30s`, `24h`, `7d`; `50%` or `3`. Text in, value out.

use std::fmt;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Reads a duration such as `90s`, `15m`, `1h 30m` or `7d` (a day has 24 hours). Months, years and negatives are refused:
/// a timeout has one length.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| format!("`{text}` is no duration (write it as `90s`, `15m`, `24h` or `7d`)"))?;
    if span.is_negative() {
        return Err(format!("`{text}` is negative"));
    }
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(format!("`{text}` has no fixed length (a month may have 28 days): write it in days"));
    }
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| format!("`{text}` is too long"))
}

/// A duration as screens show it: one unit, rounded down (`12s`, `3m`, `2h`, `4d`). Negative ones, of clocks that
/// disagree, are `0s`.
pub fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration as it is written in the desired state, in its largest whole unit: `5m`, `24h`.
pub fn exact(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        s if s != 0 && s % 86_400 == 0 && s >= 2 * 86_400 => format!("{}d", s / 86_400),
        s if s != 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s != 0 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// The seconds between two times, never negative: clocks of several machines are compared here.
pub fn since(then: jiff::Timestamp, now: jiff::Timestamp) -> SignedDuration {
    let span = now.duration_since(then);
    if span.is_negative() { SignedDuration::ZERO } else { span }
}

/// A number of things, or a percentage of how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    Count(u32),
    Percent(u32),
}

impl Share {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a number nor a percentage such as `50%`");
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                Ok(_) => Err(format!("`{text}` is more than 100%")),
                Err(_) => Err(wrong()),
            },
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
        }
    }

    /// How many of `total` that is, rounded down, but at least `floor`.
    pub fn of(self, total: u32, floor: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = u64::from(total) * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX).max(floor)
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(out, "{count}"),
            Self::Percent(percent) => write!(out, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_days_and_hours() {
        assert_eq!(duration("7d"), Ok(SignedDuration::from_hours(168)));
        assert_eq!(duration("1h 30m"), Ok(SignedDuration::from_mins(90)));
        assert_eq!(duration("30s"), Ok(SignedDuration::from_secs(30)));
    }

    #[test]
    fn months_negatives_and_plain_numbers_are_refused() {
        for text in ["1mo", "1y", "-5m", "5", "", "five minutes"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn short_durations() {
        let shown: Vec<String> = [-5, 0, 119, 120, 7199, 7200, 172_800].map(|s| short(SignedDuration::from_secs(s))).into();
        assert_eq!(shown, ["0s", "0s", "119s", "2m", "119m", "2h", "2d"]);
    }

    #[test]
    fn exact_durations_read_back() {
        for text in ["45s", "5m", "24h", "7d"] {
            assert_eq!(duration(text).map(exact), Ok(text.to_owned()));
        }
    }

    #[test]
    fn shares_round_down_to_their_floor() {
        assert_eq!(Share::parse("50%").map(|share| share.of(9, 2)), Ok(4));
        assert_eq!(Share::parse("50%").map(|share| share.of(1, 2)), Ok(2));
        assert_eq!(Share::parse("3").map(|share| share.of(100, 5)), Ok(3));
        assert!(Share::parse("120%").is_err());
        assert!(Share::parse("many").is_err());
    }
}
