//! Entries with stable tokens. A token of a removed entry finds nothing, also after its place was reused (65,535 times).

use std::ops::Range;

/// The lowest bit of a token is the caller's.
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u16,
    entry: Option<T>,
}

fn index(token: u64) -> usize {
    (token as u32 >> 1) as usize
}

impl<T> Slab<T> {
    /// @param reserved: places to reserve. A large reservation is one of addresses: the kernel adds memory as it is used.
    pub fn new(reserved: usize) -> Self {
        Self { places: Vec::with_capacity(reserved), free: Vec::new() }
    }

    /// @param make: makes the entry from its token, whose lowest bit is 0.
    pub fn insert(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, entry: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let token = u64::from(place.generation) << 32 | u64::from(index) << 1;
        place.entry = Some(make(token));
        token
    }

    pub fn get(&mut self, token: u64) -> Option<&mut T> {
        let place = self.places.get_mut(index(token))?;
        if u64::from(place.generation) == token >> 32 { place.entry.as_mut() } else { None }
    }

    pub fn remove(&mut self, token: u64) -> Option<T> {
        let place = self.places.get_mut(index(token))?;
        if u64::from(place.generation) != token >> 32 {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index(token) as u32);
        Some(entry)
    }

    /// The tokens and entries of some places. The range may exceed them.
    pub fn iter(&mut self, range: Range<usize>) -> impl Iterator<Item = (u64, &mut T)> {
        let places = self.places.iter_mut().enumerate().take(range.end).skip(range.start);
        places.filter_map(|(index, place)| {
            let token = u64::from(place.generation) << 32 | (index as u64) << 1;
            place.entry.as_mut().map(|entry| (token, entry))
        })
    }

    /// The number of places, of which some may be free.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_has_another_token() {
        let mut slab = Slab::new(0);
        let first = slab.insert(|_| 'a');
        assert_eq!(slab.get(first | 1), Some(&mut 'a'));
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert(|_| 'b');
        assert_eq!(index(first), index(second));
        assert!(slab.get(first).is_none() && slab.remove(first).is_none());
        assert_eq!(slab.get(second), Some(&mut 'b'));
        assert_eq!(slab.get(1 << 20), None);
    }

    #[test]
    fn iterates_over_entries_with_their_tokens() {
        let mut slab = Slab::new(0);
        let tokens: Vec<_> = (0..4).map(|number| slab.insert(|_| number)).collect();
        slab.remove(tokens[1]);
        let found: Vec<_> = slab.iter(1..9).map(|(token, entry)| (token, *entry)).collect();
        assert_eq!(found, [(tokens[2], 2), (tokens[3], 3)]);
        assert!(!slab.is_empty() && slab.places() == 4);
    }
}
