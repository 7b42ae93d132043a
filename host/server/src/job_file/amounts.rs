//! Amounts with units: durations, sizes, counts, shares, each with a range. Refuses plain numbers where a unit is needed, and what lies outside
//! the range, naming both ends.

use std::time::Duration;

use gregor_model::limits::{KIB, MIB};
use toml::de::DeValue;

/// An amount that stands in a job file.
pub(crate) trait Amount: Copy + Ord {
    /// What may stand there, without the range.
    const EXPECTED: &'static str;
    /// What to do about another kind of value.
    const REMEDY: &'static str;

    /// Reads one; none if the value is of another kind.
    fn read(value: &DeValue<'_>) -> Option<Self>;

    /// As a job file has it.
    fn show(self) -> String;
}

/// An amount that a key takes: the one table of the reference is made of these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<A> {
    /// The key.
    pub(crate) key: &'static str,
    /// What it is where the job file says nothing.
    pub(crate) default: A,
    /// The lowest that is taken.
    pub(crate) low: A,
    /// The highest that is taken.
    pub(crate) high: A,
    /// What it means, for the reference.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that compares the reference with this table reads it"))]
    pub(crate) meaning: &'static str,
}

impl<A: Amount> Setting<A> {
    /// What may stand there, with the range.
    pub(crate) fn expected(&self) -> String {
        format!("{} from {} to {}", A::EXPECTED, self.low.show(), self.high.show())
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A number of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(pub(crate) u64);

/// A share in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Permille(pub(crate) u32);

impl Amount for Duration {
    const EXPECTED: &'static str = "a duration";
    const REMEDY: &'static str = "write a number with its unit in quotes, such as \"10 s\" or \"5 minutes\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        // humantime takes a bare 0 too; here nothing goes without a unit.
        let text = value.as_str().filter(|text| text.chars().any(char::is_alphabetic))?;
        humantime::parse_duration(text).ok()
    }

    fn show(self) -> String {
        let units = [(3600 * 1000, "h"), (60 * 1000, "min"), (1000, "s"), (1, "ms")];
        let ms = self.as_millis();
        let unit = units.iter().find(|(factor, _)| ms >= *factor && ms.is_multiple_of(*factor));
        unit.map_or_else(|| format!("\"{ms} ms\""), |(factor, unit)| format!("\"{} {unit}\"", ms / factor))
    }
}

impl Amount for Size {
    const EXPECTED: &'static str = "a size";
    const REMEDY: &'static str = "write a number with KiB, MiB or GiB in quotes, such as \"64 MiB\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        parse_size(value.as_str()?).map(Self)
    }

    fn show(self) -> String {
        format!("{:?}", show_size(self.0))
    }
}

impl Amount for Count {
    const EXPECTED: &'static str = "a whole number";
    const REMEDY: &'static str = "write it without quotes, such as 3";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let number = value.as_integer()?;
        u64::from_str_radix(number.as_str(), number.radix()).ok().map(Self)
    }

    fn show(self) -> String {
        self.0.to_string()
    }
}

impl Amount for Permille {
    const EXPECTED: &'static str = "a number";
    const REMEDY: &'static str = "write it without quotes and with at most three decimals, such as 0.5";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let decimal = match value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return None,
        };
        parse_permille(decimal).map(Self)
    }

    fn show(self) -> String {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Thousandths of a decimal number without sign or exponent.
fn parse_permille(decimal: &str) -> Option<u32> {
    let (whole, part) = decimal.strip_prefix('+').unwrap_or(decimal).split_once('.').unwrap_or((decimal, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let thousandths: u32 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

/// Bytes of a size such as `64 MiB`; the number is whole, the blank may be left out.
fn parse_size(text: &str) -> Option<u64> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits_end);
    let factor = match unit.trim_start() {
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => 1024 * MIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size in the largest unit that it is a multiple of.
pub(crate) fn show_size(bytes: u64) -> String {
    let units = [(1024 * MIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    let unit = units.iter().find(|(factor, _)| bytes >= *factor && bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes} B"), |(factor, unit)| format!("{} {unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<A: Amount + std::fmt::Debug>(toml: &str, expected: Option<A>) {
        let value = DeValue::parse(toml).unwrap();
        assert_eq!(A::read(value.get_ref()), expected, "{toml}");
    }

    #[test]
    fn sizes_need_a_unit_and_a_whole_number() {
        check("\"64 MiB\"", Some(Size(64 * MIB)));
        check("\"64MiB\"", Some(Size(64 * MIB)));
        check("\"1 KiB\"", Some(Size(1024)));
        check("\"2 GiB\"", Some(Size(2 * 1024 * MIB)));
        for wrong in [
            "64",
            "\"64\"",
            "\"64 MB\"",
            "\"1.5 MiB\"",
            "\"-1 KiB\"",
            "\" 1 KiB\"",
            "\"MiB\"",
            "\"\"",
            "\"99999999999 GiB\"",
            "\"1 KiB 2\"",
        ] {
            check::<Size>(wrong, None);
        }
    }

    #[test]
    fn sizes_read_back_as_they_are_shown() {
        for bytes in [KIB, 64 * MIB, 1024 * MIB, 1536 * KIB] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(show_size(1000), "1000 B");
    }

    #[test]
    fn durations_need_a_unit() {
        check("\"5 minutes\"", Some(Duration::from_secs(300)));
        check("\"500 ms\"", Some(Duration::from_millis(500)));
        check("\"1h 30m\"", Some(Duration::from_secs(5400)));
        for wrong in ["10", "\"10\"", "\"0\"", "\"soon\"", "\"\"", "true"] {
            check::<Duration>(wrong, None);
        }
    }

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for ms in [1, 10, 1500, 60_000, 90_000, 7_200_000, 86_400_000, 30 * 86_400_000] {
            let duration = Duration::from_millis(ms);
            check(&duration.show(), Some(duration));
        }
        assert_eq!(Duration::from_secs(24 * 3600).show(), "\"24 h\"");
    }

    #[test]
    fn shares_are_kept_in_thousandths() {
        check("0.5", Some(Permille(500)));
        check("1", Some(Permille(1000)));
        check("0.125", Some(Permille(125)));
        check("12.0", Some(Permille(12000)));
        for wrong in ["0.1234", "-0.5", "inf", "nan", "1e3", "\"0.5\"", "99999999999.0"] {
            check::<Permille>(wrong, None);
        }
        assert_eq!([Permille(500), Permille(1000), Permille(125), Permille(10)].map(Amount::show), ["0.5", "1", "0.125", "0.01"]);
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        check("3", Some(Count(3)));
        check("1_000", Some(Count(1000)));
        check("0x10", Some(Count(16)));
        for wrong in ["-1", "1.0", "\"3\"", "99999999999999999999"] {
            check::<Count>(wrong, None);
        }
    }
}
