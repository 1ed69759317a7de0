//! Many topic patterns in a tree: finds those that match a topic, without checking each.
//!
//! The patterns form a tree of their words. A topic descends all branches that fit at the same
//! time, so the cost depends on its words and on the number of branches that fit, not on the number
//! of patterns.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::topic::{MANY, ONE, Topic, TopicPattern};

/// Patterns with a number each; a number may have several patterns.
#[derive(Clone, Debug)]
pub struct TopicTree {
    /// The first one is the root; the others are identified by their index.
    nodes: Vec<Node>,
    /// Unused indexes.
    free: Vec<usize>,
}

/// The rest of the patterns after some words.
#[derive(Clone, Debug, Default)]
struct Node {
    /// The numbers of the patterns that end here.
    ends: Vec<usize>,
    /// After a word.
    words: HashMap<Box<str>, usize, RandomState>,
    /// After `*`.
    one: Option<usize>,
    /// After `#`.
    many: Option<usize>,
    /// True if the previous word is `#`, which takes any number of words.
    repeats: bool,
}

impl Node {
    fn behind(&self, word: &str) -> Option<usize> {
        match word {
            ONE => self.one,
            MANY => self.many,
            word => self.words.get(word).copied(),
        }
    }

    fn forget(&mut self, word: &str) {
        match word {
            ONE => self.one = None,
            MANY => self.many = None,
            word => drop(self.words.remove(word)),
        }
    }

    fn is_bare(&self) -> bool {
        self.ends.is_empty() && self.words.is_empty() && self.one.is_none() && self.many.is_none()
    }
}

impl Default for TopicTree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
    }
}

impl TopicTree {
    /// Adds `pattern` with its number.
    pub fn insert(&mut self, pattern: &TopicPattern, number: usize) {
        let mut place = 0;
        for word in pattern.as_str().split('.') {
            let new = self.free.last().copied().unwrap_or(self.nodes.len());
            let Some(node) = self.nodes.get_mut(place) else { return };
            place = match word {
                ONE => *node.one.get_or_insert(new),
                MANY => *node.many.get_or_insert(new),
                word => *node.words.entry(word.into()).or_insert(new),
            };
            if place == new {
                let node = Node { repeats: word == MANY, ..Node::default() };
                match self.free.pop().and_then(|free| self.nodes.get_mut(free)) {
                    Some(free) => *free = node,
                    None => self.nodes.push(node),
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(place) {
            node.ends.push(number);
        }
    }

    /// Removes `pattern` from its number, once; other numbers keep it. Branches that lead nowhere
    /// are removed, too.
    pub fn remove(&mut self, pattern: &TopicPattern, number: usize) {
        let mut path = Vec::new();
        let mut place = 0;
        for word in pattern.as_str().split('.') {
            let Some(next) = self.node(place).and_then(|node| node.behind(word)) else { return };
            path.push((place, word));
            place = next;
        }
        let Some(node) = self.nodes.get_mut(place) else { return };
        let Some(end) = node.ends.iter().position(|end| *end == number) else { return };
        node.ends.swap_remove(end);
        for (before, word) in path.into_iter().rev() {
            if !self.node(place).is_some_and(Node::is_bare) {
                return;
            }
            if let Some(node) = self.nodes.get_mut(before) {
                node.forget(word);
            }
            self.free.push(place);
            place = before;
        }
    }

    /// The numbers of the patterns that match `topic`: each once, ascending.
    ///
    /// At most words × patterns steps, however many `#` there are.
    #[must_use]
    pub fn matching(&self, topic: &Topic) -> Vec<usize> {
        let (mut here, mut next) = (Vec::new(), Vec::new());
        self.reach(&mut here, Some(0));
        for word in topic.as_str().split('.') {
            for (place, node) in here.iter().filter_map(|place| Some((*place, self.node(*place)?)))
            {
                self.reach(&mut next, node.words.get(word).copied());
                self.reach(&mut next, node.one);
                self.reach(&mut next, node.repeats.then_some(place));
            }
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut here, &mut next);
            next.clear();
        }
        let ends =
            here.into_iter().filter_map(|place| self.node(place)).flat_map(|node| &node.ends);
        let mut numbers: Vec<_> = ends.copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Adds `place`, and what follows a `#` there that takes no word.
    fn reach(&self, places: &mut Vec<usize>, mut place: Option<usize>) {
        while let Some(reached) = place {
            places.push(reached);
            place = self.node(reached).and_then(|node| node.many);
        }
    }

    fn node(&self, place: usize) -> Option<&Node> {
        self.nodes.get(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(of: &[&'static str]) -> impl Strategy<Value = String> {
        let words = prop::collection::vec(prop::sample::select(of.to_vec()), 1..7);
        let text = words.prop_map(|words| words.join("."));
        text.prop_filter("the empty text is no topic", |text| !text.is_empty())
    }

    proptest! {
        /// Goal: the tree gives the same result as each pattern by itself.
        #[test]
        fn the_tree_matches_like_each_pattern_by_itself(
            patterns in prop::collection::vec(words(&["a", "b", "", "*", "#"]), 0..30),
            topics in prop::collection::vec(words(&["a", "b", "c", "", "*", "#"]), 1..10),
        ) {
            let patterns: Vec<TopicPattern> =
                patterns.iter().map(|text| text.parse().expect("a pattern")).collect();
            let mut tree = TopicTree::default();
            for (index, pattern) in patterns.iter().enumerate() {
                // Two patterns each share a number.
                tree.insert(pattern, index / 2);
            }
            for topic in &topics {
                let topic = Topic::new(topic).expect("a topic");
                let mut expected: Vec<_> = patterns
                    .iter()
                    .enumerate()
                    .filter_map(|(index, pattern)| pattern.matches(&topic).then_some(index / 2))
                    .collect();
                expected.dedup();
                prop_assert_eq!(tree.matching(&topic), expected, "{}", topic);
            }
        }
    }

    proptest! {
        /// Goal: removed patterns match no more, all others do, and nothing is left of them.
        /// Method: a tree with some of them removed gives the same results as one without them,
        /// also after they are added again.
        #[test]
        fn removed_patterns_leave_nothing_behind(
            patterns in prop::collection::vec((words(&["a", "b", "*", "#"]), any::<bool>()), 0..30),
            topic in words(&["a", "b", "c"]),
        ) {
            let topic = Topic::new(&topic).expect("a topic");
            let patterns: Vec<(TopicPattern, bool)> = patterns
                .iter()
                .map(|(text, stays)| (text.parse().expect("a pattern"), *stays))
                .collect();
            let (mut tree, mut expected) = (TopicTree::default(), TopicTree::default());
            for (number, (pattern, stays)) in patterns.iter().enumerate() {
                tree.insert(pattern, number);
                if *stays {
                    expected.insert(pattern, number);
                }
            }
            let whole = tree.matching(&topic);
            for (number, (pattern, _)) in patterns.iter().enumerate().filter(|(_, (_, stays))| !stays) {
                tree.remove(pattern, number);
            }
            prop_assert_eq!(tree.matching(&topic), expected.matching(&topic));
            prop_assert_eq!(tree.nodes.len() - tree.free.len(), expected.nodes.len());
            let size = tree.nodes.len();
            for (number, (pattern, _)) in patterns.iter().enumerate().filter(|(_, (_, stays))| !stays) {
                tree.insert(pattern, number);
            }
            prop_assert_eq!(tree.matching(&topic), whole);
            prop_assert_eq!(tree.nodes.len(), size);
        }
    }

    #[test]
    fn many_wildcards_do_not_blow_up() {
        let mut tree = TopicTree::default();
        tree.insert(&(["#"; 60].join(".a.") + ".b").parse().expect("a pattern"), 7);
        let topic = ["a"; 120].join(".");
        assert!(tree.matching(&Topic::new(&topic).expect("a topic")).is_empty());
        assert_eq!(tree.matching(&Topic::new(&(topic + ".b")).expect("a topic")), [7]);
    }
}
