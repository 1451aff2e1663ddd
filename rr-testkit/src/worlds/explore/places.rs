//! Numbers of the places that were seen, and scripts by these numbers.

use std::collections::{HashMap, HashSet};

use super::super::fault::{Fault, Place, Script};

/// Script by the numbers of its places: there are few places and many scripts.
pub(super) type Numbered = Vec<(u32, Fault)>;

/// Numbers of the places that were seen.
#[derive(Default)]
pub(super) struct Places {
    numbers: HashMap<Place, u32>,
    pub(super) places: Vec<Place>,
}

impl Places {
    pub(super) fn number(&mut self, place: &Place) -> u32 {
        if let Some(number) = self.numbers.get(place) {
            return *number;
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.numbers.insert(place.clone(), number);
        self.places.push(place.clone());
        number
    }

    /// Returns for each place whether a service sends its message.
    pub(super) fn sent_by_services(&self) -> Vec<bool> {
        let services: HashSet<&str> = self.places.iter().map(|place| place.to.as_str()).collect();
        self.places.iter().map(|place| services.contains(place.from.as_str())).collect()
    }

    pub(super) fn script(&self, faults: &Numbered) -> Script {
        let place = |number: u32| self.places.get(number as usize).cloned();
        let faults = faults.iter().filter_map(|(number, fault)| Some((place(*number)?, *fault)));
        Script(faults.collect())
    }
}
