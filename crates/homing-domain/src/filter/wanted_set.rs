//! The values of a `containsOnly`: each value of an event is looked up at once, so that two long
//! lists cost their sum and not their product.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    budget::{Budget, OverBudget},
    comparison::equal,
};
use crate::json::{Decimal, Json, Kind};

/// Values by everything that equals them, and which of them were seen.
///
/// Equality is no equivalence here: the number `1` equals the strings `"1"` and `"1.0"`, which do
/// not equal each other. So one seen value may match several.
pub(super) struct WantedSet<'w> {
    /// Strings.
    texts: HashMap<&'w str, usize>,
    /// Integers written as numbers.
    integers: HashMap<i128, usize>,
    /// Numbers written as strings, by their value; each may have several spellings.
    spelled: HashMap<Decimal<'w>, Vec<usize>>,
    /// All others are compared one by one: flags, null, fractions, lists and objects.
    others: Vec<(usize, &'w Value)>,
    /// For each distinct value.
    seen: Vec<bool>,
}

/// Cost of hashing a value and looking it up.
const STEPS: usize = 8;

impl<'w> WantedSet<'w> {
    pub(super) fn new(wanted: &'w [Value], budget: &mut Budget) -> Result<Self, OverBudget> {
        let mut set = Self {
            texts: HashMap::new(),
            integers: HashMap::new(),
            spelled: HashMap::new(),
            others: Vec::new(),
            seen: Vec::new(),
        };
        for value in wanted {
            budget.spend(STEPS)?;
            if set.insert(value, set.seen.len()) {
                set.seen.push(false);
            }
        }
        Ok(set)
    }

    /// Adds `value` as number `next`; `false`: it exists.
    fn insert(&mut self, value: &'w Value, next: usize) -> bool {
        if let Value::String(text) = value {
            if *self.texts.entry(text).or_insert(next) != next {
                return false;
            }
            if let Some(number) = Decimal::parse(text) {
                self.spelled.entry(number).or_default().push(next);
            }
            return true;
        }
        if let Some(integer) = value.as_number().and_then(serde_json::Number::as_i128) {
            return *self.integers.entry(integer).or_insert(next) == next;
        }
        self.others.push((next, value));
        true
    }

    /// True if `found` is one of the values; marks all that equal it as seen.
    pub(super) fn saw(&mut self, found: Json<'_>, budget: &mut Budget) -> Result<bool, OverBudget> {
        budget.spend(STEPS)?;
        budget.read(found.raw().len())?;
        let mut is_wanted = false;
        match found.kind() {
            Kind::Text => {
                let text = found.text().unwrap_or_default();
                is_wanted |= self.see(self.texts.get(&*text).copied());
                let integer = Decimal::parse(&text).and_then(|number| number.to_integer());
                is_wanted |= self.see(integer.and_then(|it| self.integers.get(&it).copied()));
            }
            Kind::Number => {
                let Some(number) = found.number() else { return Ok(false) };
                let integer = number.to_integer();
                is_wanted |= self.see(integer.and_then(|it| self.integers.get(&it).copied()));
                let spelled: &HashMap<Decimal<'_>, _> = &self.spelled;
                for spelling in spelled.get(&number).cloned().unwrap_or_default() {
                    budget.spend(STEPS)?;
                    is_wanted |= self.see(Some(spelling));
                }
            }
            Kind::Null | Kind::Bool => is_wanted |= self.see(self.texts.get(found.raw()).copied()),
            Kind::List | Kind::Object => {}
        }
        for (other, wanted) in &self.others {
            if equal(found, wanted, budget)? {
                is_wanted = true;
                if let Some(seen) = self.seen.get_mut(*other) {
                    *seen = true;
                }
            }
        }
        Ok(is_wanted)
    }

    /// True if each of the values was seen.
    pub(super) fn saw_all(&self) -> bool {
        self.seen.iter().all(|seen| *seen)
    }

    fn see(&mut self, number: Option<usize>) -> bool {
        let seen = number.and_then(|number| self.seen.get_mut(number));
        seen.map(|seen| *seen = true).is_some()
    }
}
