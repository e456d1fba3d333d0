//! A stream of bytes in which every position can be told from its neighbours, to send and to check.

use bytes::Bytes;

/// Primes, so that the repetition never falls in step with a buffer or a chunk.
const PERIOD: usize = 1_048_583;
const SMALL_PERIOD: usize = 1021;

/// An endless stream of random bytes, repeating after a bit more than a mebibyte.
#[derive(Clone)]
pub struct Pattern(Bytes);

impl Pattern {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Pattern {
        Pattern::with_period(seed, PERIOD)
    }

    /// The same with a short period, for when there are many of them.
    pub fn small(seed: u64) -> Pattern {
        Pattern::with_period(seed, SMALL_PERIOD)
    }

    fn with_period(seed: u64, period: usize) -> Pattern {
        let mut block = vec![0; period];
        fastrand::Rng::with_seed(seed).fill(&mut block);
        Pattern(Bytes::from(block))
    }

    /// Bytes of the stream from `offset` on: `len` of them, or fewer where the period ends.
    pub fn chunk(&self, offset: u64, len: usize) -> Bytes {
        let period = self.0.len();
        let from = (offset % period as u64) as usize;
        self.0.slice(from..(from + len).min(period))
    }

    /// The same, but always `len` of them.
    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(len);
        while all.len() < len {
            all.extend_from_slice(&self.chunk(offset + all.len() as u64, len - all.len()));
        }
        all
    }

    /// Checks a stream from its start.
    pub fn checker(&self) -> Checker {
        Checker { pattern: self.clone(), offset: 0 }
    }
}

/// Checks that what arrives is the stream, without gap or repeat.
pub struct Checker {
    pattern: Pattern,
    offset: u64,
}

impl Checker {
    /// Takes the next bytes that arrived; panics if they are not those that come next.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.pattern.chunk(self.offset, bytes.len());
            let (now, later) = bytes.split_at(expected.len());
            if now != expected {
                let index = now.iter().zip(&expected).take_while(|(a, b)| a == b).count();
                panic!("another byte than was sent at offset {}", self.offset + index as u64);
            }
            self.offset += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes have arrived.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}
