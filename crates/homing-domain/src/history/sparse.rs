//! Numbers by a small index, of which few are not zero.

/// Pairs of index and number, sorted by index; no number is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse(Vec<(u8, u64)>);

impl Sparse {
    /// Adds to the number at `index`.
    pub(super) fn add(&mut self, index: u8, number: u64) {
        if number == 0 {
            return;
        }
        match self.0.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(place) => {
                if let Some((_, sum)) = self.0.get_mut(place) {
                    *sum = sum.saturating_add(number);
                }
            }
            Err(place) => self.0.insert(place, (index, number)),
        }
    }

    /// The number at `index`.
    pub(super) fn get(&self, index: u8) -> u64 {
        let found = self.0.binary_search_by_key(&index, |(index, _)| *index).ok();
        found.and_then(|place| self.0.get(place)).map_or(0, |(_, number)| *number)
    }

    /// Adds all numbers of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (index, number) in &other.0 {
            self.add(*index, *number);
        }
    }

    /// Those that are not zero, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Writes their number, then each index as a byte with its number in base 128, the low part
    /// first, each byte but the last with its highest bit set.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        // There are at most 256.
        into.extend(u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (index, number) in self.iter() {
            into.push(index);
            let mut rest = number;
            while rest > 0x7f {
                into.push(low(rest) | 0x80);
                rest >>= 7;
            }
            into.push(low(rest));
        }
    }

    /// Reads what [`write`](Self::write) wrote, and leaves what follows in `from`.
    pub(super) fn read(from: &mut &[u8]) -> Option<Self> {
        let (length, mut rest) = from.split_first_chunk()?;
        let mut read = Vec::new();
        for _ in 0..u16::from_le_bytes(*length) {
            let index = take(&mut rest)?;
            let mut number = 0_u64;
            let mut shift = 0_u32;
            loop {
                let byte = take(&mut rest)?;
                let part = u64::from(byte & 0x7f);
                number |= part.checked_shl(shift).filter(|whole| whole >> shift == part)?;
                if byte & 0x80 == 0 {
                    break;
                }
                shift = shift.checked_add(7)?;
            }
            if number == 0 || read.last().is_some_and(|(last, _)| *last >= index) {
                return None;
            }
            read.push((index, number));
        }
        *from = rest;
        Some(Self(read))
    }
}

/// The lowest seven bits.
fn low(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or(0)
}

fn take(from: &mut &[u8]) -> Option<u8> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(*first)
}
