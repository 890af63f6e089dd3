//! Sealing: ChaCha20-Poly1305 (RFC 8439) over the whole text, with a nonce drawn anew each time.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

pub const KEY_BYTES: usize = 32;

/// What a sealed file begins with; part of what is authenticated, so that a file of another format is never opened.
const HEADER: &[u8] = b"longshore credentials 1\n";

/// The key. Not printable.
pub struct Key([u8; KEY_BYTES]);

impl Key {
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// `None` if the kernel has no random bytes to give.
    pub fn generate() -> Option<Self> {
        Some(Self(random()?))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn cipher(&self) -> LessSafeKey {
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &self.0).expect("the key has the cipher's length");
        LessSafeKey::new(unbound)
    }

    /// Header, nonce, ciphertext and tag. `None` if the kernel has no random bytes to give.
    pub fn seal(&self, plain: Vec<u8>) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut text = plain;
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(HEADER), &mut text)
            .expect("the text is bounded far below the cipher's limit");
        Some([HEADER, &nonce, &text].concat())
    }

    /// `None` for what this key did not seal, or what was changed since.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.strip_prefix(HEADER)?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let plain = self.cipher().open_in_place(nonce, Aad::from(HEADER), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_its_key_alone_and_only_unchanged() {
        let (key, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        let sealed = key.seal(b"a secret".to_vec()).unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"a secret"));
        assert_eq!(key.open(&sealed).unwrap(), b"a secret");
        assert_ne!(key.seal(b"a secret".to_vec()).unwrap(), sealed);
        assert_eq!(other.open(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), None, "byte {at}");
            assert_eq!(key.open(&sealed[..at]), None, "cut at {at}");
        }
    }
}
