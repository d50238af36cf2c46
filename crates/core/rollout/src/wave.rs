//! Waves: which devices take a release together.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use evenkeel_units::{DeviceId, PerMille};

/// One wave of a rollout.
///
/// Written as `all`, a number of devices such as `5`, a fraction of the fleet such as `100‰` or `10%`, or
/// device identities with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wave {
    /// Exactly these devices.
    Devices(Vec<DeviceId>),
    /// This many devices that no earlier wave has; at least 1.
    Count(u32),
    /// So many that this fraction of the fleet has had its turn, earlier waves included; above 0.
    Fraction(PerMille),
}

impl Wave {
    /// Every device that no earlier wave has.
    pub const ALL: Self = Self::Fraction(PerMille::WHOLE);

    /// Most devices that a wave may name one by one; beyond that a fraction is meant.
    pub const DEVICES_LIMIT: usize = 1000;
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Devices(devices) => devices.iter().enumerate().try_for_each(|(index, device)| {
                if index > 0 {
                    f.write_str(",")?;
                }
                write!(f, "{device}")
            }),
            Self::Count(count) => write!(f, "{count}"),
            Self::Fraction(PerMille::WHOLE) => f.write_str("all"),
            Self::Fraction(fraction) => write!(f, "{}‰", u16::from(*fraction)),
        }
    }
}

/// Why a text is not a wave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{got}` is not a wave; expected `all`, a number of devices such as `5`, a fraction of the fleet such as `100‰` \
     or `10%`, or up to 1000 device identities with commas between them"
)]
pub struct WaveError {
    got: String,
}

impl FromStr for Wave {
    type Err = WaveError;

    fn from_str(text: &str) -> Result<Self, WaveError> {
        let wave = if text == "all" {
            Some(Self::ALL)
        } else if let Some(thousandths) = text.strip_suffix('‰') {
            fraction(thousandths, 1)
        } else if let Some(hundredths) = text.strip_suffix('%') {
            fraction(hundredths, 10)
        } else if text.len() < 10 {
            number(text).filter(|&count| count > 0).map(Self::Count)
        } else {
            devices(text)
        };
        wave.ok_or_else(|| WaveError { got: text.chars().take(80).collect() })
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn fraction(text: &str, thousandths_each: u16) -> Option<Wave> {
    let thousandths = number::<u16>(text)?.checked_mul(thousandths_each).filter(|&value| value > 0)?;
    PerMille::new(thousandths).ok().map(Wave::Fraction)
}

fn devices(text: &str) -> Option<Wave> {
    let mut devices = Vec::new();
    for part in text.split(',') {
        let device = part.parse().ok()?;
        if devices.contains(&device) || devices.len() >= Wave::DEVICES_LIMIT {
            return None;
        }
        devices.push(device);
    }
    Some(Wave::Devices(devices))
}

impl serde::Serialize for Wave {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Wave {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_wave_reads_back_what_it_wrote() {
        let ids = [1, 2].map(|n| DeviceId::of_public_key(&[n; 32]));
        for wave in [
            Wave::ALL,
            Wave::Count(1),
            Wave::Fraction(PerMille::new(5).unwrap()),
            Wave::Devices(ids.to_vec()),
            Wave::Devices(ids[..1].to_vec()),
        ] {
            assert_eq!(wave.to_string().parse(), Ok(wave));
        }
        assert_eq!("10%".parse(), Ok(Wave::Fraction(PerMille::new(100).unwrap())));
        assert_eq!("100%".parse(), Ok(Wave::ALL));
    }

    #[test]
    fn what_would_start_nobody_or_more_than_everybody_is_refused() {
        let id = DeviceId::of_public_key(&[1; 32]);
        let twice = [id.to_string(), id.to_string()].join(",");
        for text in ["", "0", "0%", "0‰", "101%", "1001‰", "-1", "+1", "half", "1,2", &twice, "99999999999"]
        {
            assert!(text.parse::<Wave>().is_err(), "{text}");
        }
    }
}
