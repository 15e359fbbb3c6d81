//! Durations, sizes and shares as people write them: always with a unit.
//!
//! Must not know which word they belong to.

use std::time::Duration;

/// The unit of a duration and its length in nanoseconds.
const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// The unit of a size and its bytes.
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// The longest duration that means anything here; it also keeps sums from overflowing.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Reads `"500ms"`, `"1.5s"`, `"1h 30m"`.
///
/// # Errors
/// Says what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut parts = 0;
    let mut words = text.split_ascii_whitespace().peekable();
    while let Some(part) = words.next() {
        let is_number = part.parse::<f64>().is_ok();
        let unit = words.peek().filter(|_| is_number);
        if let Some(unit) = unit.and_then(|unit| meant(unit, &DURATIONS)) {
            return Err(format!(
                "no space stands before a unit: write \"{part}{unit}\""
            ));
        }
        let nanoseconds = quantity(part, &DURATIONS)?;
        total = total.saturating_add(Duration::from_nanos(nanoseconds));
        parts += 1;
    }
    if parts == 0 {
        return Err("it is empty".to_owned());
    }
    if total > LONGEST {
        return Err("it is longer than ten years".to_owned());
    }
    Ok(total)
}

/// Reads `"512MiB"`, `"1.5GB"`: a size in bytes.
///
/// # Errors
/// Says what is wrong with it.
pub fn size(text: &str) -> Result<u64, String> {
    quantity(text.trim(), &SIZES)
}

/// Reads `"50%"` as `50.0`; between 0 and 100.
///
/// # Errors
/// Says what is wrong with it.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').ok_or("the `%` is missing")?;
    match number.trim().parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        Ok(_) => Err("it must be between 0% and 100%".to_owned()),
        Err(_) => Err(format!("{number:?} is not a number")),
    }
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let split = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if text.starts_with('-') {
        return Err("it is less than nothing".to_owned());
    }
    if number.is_empty() {
        return Err(format!("{text:?} begins with no number"));
    }
    let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let known = known.join(", ");
    if unit.trim().is_empty() {
        return Err(format!("the unit is missing: one of {known}"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit.trim()) else {
        let unit = unit.trim();
        return Err(match meant(unit, units) {
            Some(near) => format!("{unit:?} is no unit: write \"{number}{near}\""),
            None => format!("{unit:?} is no unit: one of {known} is"),
        });
    };
    scaled(number, *factor).ok_or_else(|| format!("{number:?} is not a number, or too large"))
}

/// The unit that somebody means who writes it in another way: `minutes`, `min`, `KB`.
fn meant<'a>(word: &str, units: &[(&'a str, u64)]) -> Option<&'a str> {
    const SPELLED: [(&str, &str); 6] = [
        ("milliseconds", "ms"),
        ("seconds", "s"),
        ("minutes", "m"),
        ("hours", "h"),
        ("days", "d"),
        ("bytes", "B"),
    ];
    let word = word.to_ascii_lowercase();
    let single = word.strip_suffix('s').unwrap_or(&word);
    let long = SPELLED
        .iter()
        .find(|(long, _)| single.len() > 2 && long.starts_with(single))
        .map(|(_, unit)| *unit);
    let mut units = units.iter().map(|(unit, _)| *unit);
    units.find(|unit| unit.eq_ignore_ascii_case(&word) || Some(*unit) == long)
}

/// A decimal number times the factor, without the rounding of a float.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    let digits = u32::try_from(fraction.len())
        .ok()
        .filter(|digits| *digits <= 9)?;
    let fraction: u64 = fraction.parse().ok()?;
    let part = u128::from(fraction) * u128::from(factor) / 10_u128.pow(digits);
    whole
        .checked_mul(factor)?
        .checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(
            duration("30"),
            Err("the unit is missing: one of ms, s, m, h, d".to_owned())
        );
        assert_eq!(
            duration("30 s"),
            Err("no space stands before a unit: write \"30s\"".to_owned())
        );
        assert_eq!(
            duration("3w"),
            Err("\"w\" is no unit: one of ms, s, m, h, d is".to_owned())
        );
        for bad in ["", "s", "-1s", "1..s", "99999999999999999999s", "9000d"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_unit_that_is_written_in_another_way_is_named() {
        for (text, right) in [
            ("8 minutes", "8m"),
            ("8minutes", "8m"),
            ("1h 8 Mins", "8m"),
            ("2sec", "2s"),
            ("1.5 hours", "1.5h"),
            ("10 MS", "10ms"),
            ("3D", "3d"),
        ] {
            let why = duration(text).unwrap_err();
            assert!(why.ends_with(&format!("write \"{right}\"")), "{why}");
        }
        assert!(size("5KB").unwrap_err().ends_with("write \"5kB\""));
        assert!(size("5 bytes").unwrap_err().ends_with("write \"5B\""));
        assert_eq!(duration("-3s"), Err("it is less than nothing".to_owned()));
        assert_eq!(duration("s"), Err("\"s\" begins with no number".to_owned()));
    }

    #[test]
    fn sizes_and_shares_have_units() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1.5GB"), Ok(1_500_000_000));
        assert!(size("512").is_err());
        assert_eq!(percent("50%"), Ok(50.0));
        assert!(percent("50").is_err());
        assert!(percent("150%").is_err());
        assert!(percent("NaN%").is_err());
    }
}
