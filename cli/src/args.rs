//! The values that can stand on the command line: addresses, durations, a backend. Each says in one
//! sentence what is wrong with a bad one.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use ringpark::Backend;

/// `HOST:PORT`: an IP address, or a name that is looked up when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:80`, `[::1]:80`
    Fixed(SocketAddr),
    /// `localhost:80`
    Named(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Ok(addr) = text.parse() {
            return Ok(Address::Fixed(addr));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("there is no port in it; write HOST:PORT, such as {text}:80"));
        };
        if port.parse::<u16>().is_err() {
            return Err("the port after the last `:` must be a number from 0 to 65535".into());
        }
        let is_name = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        // All digits and dots, and not parsed above: a mistyped IPv4 address, not a name.
        if !is_name || host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err("write HOST:PORT, such as 127.0.0.1:80, [::1]:80 or localhost:80".into());
        }
        Ok(Address::Named(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Fixed(addr) => addr.fmt(f),
            Address::Named(name) => f.write_str(name),
        }
    }
}

/// A duration such as `500ms`, `60s`, `5m`, `1h`; `0` stands for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        const FORM: &str = "write a number and its unit, such as 500ms, 60s or 5m, or 0 for never";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(FORM.into());
        }
        let number: u64 = number.parse().map_err(|_| "that is too long a time".to_owned())?;
        let millis_per_unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "" if number == 0 => 1,
            _ => return Err(FORM.into()),
        };
        let millis = number.checked_mul(millis_per_unit).ok_or("that is too long a time")?;
        Ok(Limit((millis > 0).then(|| Duration::from_millis(millis))))
    }
}

/// `auto`, or one backend and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendChoice(pub Option<Backend>);

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<BackendChoice, String> {
        if text == "auto" {
            return Ok(BackendChoice(None));
        }
        let backend = text.parse().ok().filter(|backend| Backend::SUPPORTED.contains(backend));
        let backend = backend.ok_or_else(|| {
            let names: Vec<_> = Backend::SUPPORTED.iter().map(|backend| backend.name()).collect();
            format!("write auto, or one of {}", names.join(", "))
        })?;
        Ok(BackendChoice(Some(backend)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        let fixed = |text: &str| Address::Fixed(text.parse().unwrap());
        assert_eq!("127.0.0.1:80".parse(), Ok(fixed("127.0.0.1:80")));
        assert_eq!("[::1]:80".parse(), Ok(fixed("[::1]:80")));
        assert_eq!("localhost:80".parse(), Ok(Address::Named("localhost:80".into())));
        assert_eq!("db-1.lan:5432".parse(), Ok(Address::Named("db-1.lan:5432".into())));
    }

    #[test]
    fn a_bad_address_is_refused_with_what_to_write() {
        for (text, says) in [
            ("localhost", "such as localhost:80"),
            ("127.0.0.1:65536", "0 to 65535"),
            ("127.0.0.1:http", "0 to 65535"),
            ("127.0.0.1:", "0 to 65535"),
            ("127.0.0.256:80", "HOST:PORT"),
            (":80", "HOST:PORT"),
            ("::1:80x", "0 to 65535"),
            ("a b:80", "HOST:PORT"),
            ("", "HOST:PORT"),
        ] {
            let said = text.parse::<Address>().unwrap_err();
            assert!(said.contains(says), "{text:?}: {said}");
        }
    }

    #[test]
    fn durations_carry_their_unit() {
        let of = |text: &str| text.parse::<Limit>().unwrap().0;
        assert_eq!(of("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(of("60s"), Some(Duration::from_secs(60)));
        assert_eq!(of("5m"), Some(Duration::from_secs(300)));
        assert_eq!(of("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(of("0"), None);
        assert_eq!(of("0s"), None);
    }

    #[test]
    fn a_bad_duration_is_refused() {
        for text in ["", "s", "5", "5 s", "-1s", "1.5s", "1d", "99999999999999999999s"] {
            assert!(text.parse::<Limit>().is_err(), "{text:?}");
        }
        assert!(format!("{}h", u64::MAX).parse::<Limit>().is_err());
    }

    #[test]
    fn backends_go_by_their_names() {
        assert_eq!("auto".parse(), Ok(BackendChoice(None)));
        assert_eq!("epoll".parse(), Ok(BackendChoice(Some(Backend::Epoll))));
        assert!("iocp".parse::<BackendChoice>().unwrap_err().contains("auto"));
    }
}
