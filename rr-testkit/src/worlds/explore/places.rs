//! Numbers of the places that were seen, and scripts by these numbers.

use std::collections::{HashMap, HashSet};

use super::super::fault::{Fault, Place, Script};
use super::super::profile::Profile;

/// Script by the numbers of its places: there are few places and many scripts.
pub(super) type Numbered = Vec<(u32, Fault)>;

/// Numbers of the places that were seen.
#[derive(Default)]
pub(super) struct Places {
    numbers: HashMap<Place, u32>,
    places: Vec<Place>,
    profiles: Vec<Profile>,
}

impl Places {
    pub(super) fn number(&mut self, place: &Place, profile: Profile) -> u32 {
        if let Some(number) = self.numbers.get(place) {
            return *number;
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.numbers.insert(place.clone(), number);
        self.places.push(place.clone());
        self.profiles.push(profile);
        number
    }

    /// Returns for each place which of these faults it can have.
    pub(super) fn faults(&self, kinds: &[Fault]) -> Vec<Vec<Fault>> {
        let services: HashSet<&str> = self.places.iter().map(|place| place.to.as_str()).collect();
        let faults = |(place, profile): (&Place, &Profile)| {
            let is_by_service = services.contains(place.from.as_str());
            let of_service = [Fault::CallerCrashed, Fault::CrashedOnReply];
            let has = |fault: &Fault| is_by_service || !of_service.contains(fault);
            let kinds = kinds.iter().copied();
            kinds.filter(|fault| profile.has(*fault)).filter(has).collect()
        };
        self.places.iter().zip(&self.profiles).map(faults).collect()
    }

    pub(super) fn script(&self, faults: &Numbered) -> Script {
        let place = |number: u32| self.places.get(number as usize).cloned();
        let faults = faults.iter().filter_map(|(number, fault)| Some((place(*number)?, *fault)));
        Script(faults.collect())
    }
}
