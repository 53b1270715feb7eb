//! Keyed pseudonyms: ids of people and devices never leave the door in the clear.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

/// What a pseudonym stands for; the same text gives different pseudonyms per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubjectKind {
    /// Network address.
    Ip,
    /// Customer account.
    Account,
    /// Player or browser.
    Device,
    /// Signed-in session.
    Session,
    /// What a member signs in with: an e-mail address or a telephone number.
    Identifier,
    /// Group of passwords; says which attempts tried the same one, not which.
    Password,
}

impl SubjectKind {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Ip => b"ip\0",
            Self::Account => b"account\0",
            Self::Device => b"device\0",
            Self::Session => b"session\0",
            Self::Identifier => b"identifier\0",
            Self::Password => b"password\0",
        }
    }
}

/// A key file that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The active key is not among the keys.
    #[error("key file: the active key `{0}` is not listed under [keys]")]
    NoActive(String),
    /// A key is too short or no hexadecimal text.
    #[error("key file: key `{0}` must be 64 hexadecimal digits (32 bytes)")]
    BadKey(String),
    /// A key id holds characters that would make pseudonyms ambiguous.
    #[error("key file: key id `{0}` must be 1 to 8 lower-case letters or digits")]
    BadId(String),
}

/// The keys of a project: one active for new pseudonyms, older ones kept for look-ups.
#[derive(Clone, Deserialize, Serialize)]
pub struct KeyRing {
    /// Id of the key that new pseudonyms use.
    pub active: String,
    /// Key id to 32 bytes in hexadecimal.
    pub keys: HashMap<String, String>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("active", &self.active).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Returns a ring with one key made of the given random bytes.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        let active = "k1".to_owned();
        Self { keys: HashMap::from([(active.clone(), hex(&random))]), active }
    }

    /// Returns the pseudonym maker of the active key.
    ///
    /// # Errors
    /// A missing, short or malformed key.
    pub fn pseudonyms(&self) -> Result<Pseudonyms, KeyRingError> {
        let id = self.active.clone();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if id.is_empty() || id.len() > 8 || !id.chars().all(plain) {
            return Err(KeyRingError::BadId(id));
        }
        let text = self.keys.get(&id).ok_or_else(|| KeyRingError::NoActive(id.clone()))?;
        let bytes = unhex(text).filter(|b| b.len() == 32);
        let bytes = bytes.ok_or_else(|| KeyRingError::BadKey(id.clone()))?;
        let mac = Hmac::<Sha256>::new_from_slice(&bytes).map_err(|_| KeyRingError::BadKey(id.clone()))?;
        Ok(Pseudonyms { id, mac })
    }
}

/// Makes pseudonyms with one key.
#[derive(Clone)]
pub struct Pseudonyms {
    id: String,
    mac: Hmac<Sha256>,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms").field("id", &self.id).finish_non_exhaustive()
    }
}

const PSEUDONYM_BYTES: usize = 12;
/// Bytes that remain of the group of a password: too few to tell one password from a million others.
const GROUP_BYTES: usize = 3;

impl Pseudonyms {
    /// Writes `<key id>.<24 hexadecimal digits>`: the first 96 bits of HMAC-SHA-256 over the kind
    /// and the value. 96 bits keep the chance of any collision among 10⁹ ids below 10⁻¹⁰.
    pub fn write(&self, kind: SubjectKind, value: &str, out: &mut String) {
        let mut mac = self.mac.clone();
        mac.update(kind.tag());
        mac.update(value.as_bytes());
        let digest = mac.finalize().into_bytes();
        out.push_str(&self.id);
        out.push('.');
        for b in digest.iter().take(PSEUDONYM_BYTES) {
            let _ = write!(out, "{b:02x}");
        }
    }

    /// Appends the group of a password: a pseudonym cut so short that many passwords share it.
    pub fn write_group(&self, value: &str, out: &mut String) {
        self.write(SubjectKind::Password, value, out);
        out.truncate(out.len() - 2 * (PSEUDONYM_BYTES - GROUP_BYTES));
    }

    /// Returns whether the text already is a group that this key made.
    #[must_use]
    pub fn made_group(&self, value: &str) -> bool {
        self.own(value, GROUP_BYTES)
    }

    /// Returns whether the text already is a pseudonym of this key.
    #[must_use]
    pub fn made(&self, value: &str) -> bool {
        self.own(value, PSEUDONYM_BYTES)
    }

    fn own(&self, value: &str, bytes: usize) -> bool {
        value
            .strip_prefix(self.id.as_str())
            .and_then(|v| v.strip_prefix('.'))
            .is_some_and(|v| v.len() == 2 * bytes && unhex(v).is_some())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: SubjectKind, value: &str) -> String {
        let p = KeyRing::generate([7; 32]).pseudonyms().unwrap();
        let mut out = String::new();
        p.write(kind, value, &mut out);
        assert!(p.made(&out));
        out
    }

    #[test]
    fn same_text_differs_by_kind_and_key_and_is_stable() {
        let a = made(SubjectKind::Ip, "198.51.100.7");
        assert_eq!(a, made(SubjectKind::Ip, "198.51.100.7"));
        assert_ne!(a, made(SubjectKind::Account, "198.51.100.7"));
        assert!(a.starts_with("k1.") && a.len() == 27);
    }

    #[test]
    fn bad_key_files_are_named() {
        let mut ring = KeyRing::generate([7; 32]);
        ring.active = "k2".into();
        assert!(ring.pseudonyms().unwrap_err().to_string().contains("`k2`"));
        ring.keys.insert("k2".into(), "abcd".into());
        assert!(ring.pseudonyms().unwrap_err().to_string().contains("64 hexadecimal"));
        assert!(!format!("{ring:?}").contains("abcd"));
    }
}
