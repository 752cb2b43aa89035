//! Who has which page of the cache, and which beginnings of sequences it still holds.
//!
//! Beginnings form a tree: each node is a page and the tokens whose keys and values it holds, below the node of the page
//! before it. A token's keys and values depend on what stands before it alone, so a sequence that begins like one in the tree
//! takes over its pages. Each *scope* has a tree of its own: nobody can tell, not even by the time it takes, what others with
//! other rights have asked.

use std::collections::HashMap;

use super::attention::{PAGE, PageId};

/// The pages of a cache.
pub struct Pages {
    free: Vec<PageId>,
    /// How many hold each page: sequences and nodes.
    holders: Vec<u32>,
    nodes: Vec<Option<Node>>,
    vacant: Vec<usize>,
    /// The first nodes of each scope.
    roots: HashMap<String, Vec<usize>>,
    clock: u64,
}

struct Node {
    tokens: Vec<u32>,
    page: PageId,
    scope: String,
    parent: Option<usize>,
    children: Vec<usize>,
    used: u64,
}

/// The longest known beginning of a sequence. Its pages are held for whoever asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Pages of which all positions are of use.
    pub whole: Vec<PageId>,
    /// A page of which only so many are: they are to be copied, and the page let go.
    pub part: Option<(PageId, usize)>,
}

impl Beginning {
    /// How many tokens it has.
    pub fn tokens(&self) -> usize {
        self.whole.len() * PAGE + self.part.map_or(0, |(_, positions)| positions)
    }
}

impl Pages {
    /// All free.
    pub fn new(count: usize) -> Self {
        Self {
            free: (0..count as PageId).rev().collect(),
            holders: vec![0; count],
            nodes: Vec::new(),
            vacant: Vec::new(),
            roots: HashMap::new(),
            clock: 0,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.holders.len()
    }

    /// Takes so many pages, from beginnings that were not used for the longest time if need be; nothing where too many are
    /// held by sequences.
    pub fn take(&mut self, count: usize) -> Option<Vec<PageId>> {
        if self.free.len() < count && self.free.len() + self.reclaimable() < count {
            return None;
        }
        while self.free.len() < count {
            self.forget_oldest();
        }
        let taken = self.free.split_off(self.free.len() - count);
        for page in &taken {
            self.holders[*page as usize] += 1;
        }
        Some(taken)
    }

    /// Lets pages go.
    pub fn release(&mut self, pages: &[PageId]) {
        for page in pages {
            let holders = &mut self.holders[*page as usize];
            *holders -= 1;
            if *holders == 0 {
                self.free.push(*page);
            }
        }
    }

    /// Finds the longest known beginning of `tokens` in a scope and holds its pages.
    pub fn find(&mut self, scope: &str, tokens: &[u32]) -> Beginning {
        self.clock += 1;
        let mut beginning = Beginning::default();
        let mut nodes: &[usize] = self.roots.get(scope).map_or(&[], Vec::as_slice);
        let mut rest = tokens;
        let mut path = Vec::new();
        while !rest.is_empty() {
            let common = |index: &usize| self.node(*index).map_or(0, |node| common(&node.tokens, rest));
            let Some((best, length)) = nodes.iter().map(|index| (*index, common(index))).max_by_key(|(_, c)| *c) else {
                break;
            };
            let Some(node) = self.node(best).filter(|_| length > 0) else { break };
            path.push(best);
            if length < PAGE {
                beginning.part = Some((node.page, length));
                break;
            }
            beginning.whole.push(node.page);
            rest = &rest[PAGE..];
            nodes = &node.children;
        }
        for index in path {
            if let Some(node) = &mut self.nodes[index] {
                node.used = self.clock;
                self.holders[node.page as usize] += 1;
            }
        }
        beginning
    }

    /// Remembers the pages of a sequence under its tokens; what is known already stays as it is. Pages of which not all
    /// positions have tokens must not be written any more.
    pub fn remember(&mut self, scope: &str, tokens: &[u32], pages: &[PageId]) {
        self.clock += 1;
        let mut parent = None;
        for (tokens, page) in tokens.chunks(PAGE).zip(pages) {
            match self.known(scope, parent, tokens) {
                Some(index) => parent = Some(index),
                None => parent = Some(self.insert(scope, parent, tokens, *page)),
            }
            if let Some(node) = parent.and_then(|index| self.nodes[index].as_mut()) {
                node.used = self.clock;
            }
        }
    }

    /// The node that holds `tokens` and perhaps more of the same page. One that holds fewer and has nothing behind it makes
    /// way.
    fn known(&mut self, scope: &str, parent: Option<usize>, tokens: &[u32]) -> Option<usize> {
        let mut shorter = None;
        for index in self.below(scope, parent) {
            let Some(node) = self.node(*index) else { continue };
            let length = common(&node.tokens, tokens);
            if length == tokens.len() {
                return Some(*index);
            }
            if length == node.tokens.len() && node.children.is_empty() {
                shorter = Some(*index);
            }
        }
        if let Some(index) = shorter {
            self.forget(index);
        }
        None
    }

    fn insert(&mut self, scope: &str, parent: Option<usize>, tokens: &[u32], page: PageId) -> usize {
        self.holders[page as usize] += 1;
        let node = Node {
            tokens: tokens.to_vec(),
            page,
            scope: scope.to_owned(),
            parent,
            children: Vec::new(),
            used: self.clock,
        };
        let index = match self.vacant.pop() {
            Some(index) => {
                self.nodes[index] = Some(node);
                index
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        };
        match parent.and_then(|parent| self.nodes[parent].as_mut()) {
            Some(parent) => parent.children.push(index),
            None => self.roots.entry(scope.to_owned()).or_default().push(index),
        }
        index
    }

    fn node(&self, index: usize) -> Option<&Node> {
        self.nodes[index].as_ref()
    }

    fn below(&self, scope: &str, parent: Option<usize>) -> &[usize] {
        match parent.and_then(|parent| self.node(parent)) {
            Some(node) => &node.children,
            None => self.roots.get(scope).map_or(&[], Vec::as_slice),
        }
    }

    /// How many pages can be had by forgetting beginnings: those that no sequence holds, nor anything that lies below.
    fn reclaimable(&self) -> usize {
        let mut needed = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            if node.as_ref().is_none_or(|node| self.holders[node.page as usize] == 1) {
                continue;
            }
            let mut above = Some(index);
            while let Some(index) = above.filter(|index| !needed[*index]) {
                needed[index] = true;
                above = self.node(index).and_then(|node| node.parent);
            }
        }
        self.nodes.iter().zip(needed).filter(|(node, needed)| node.is_some() && !needed).count()
    }

    /// Forgets the leaf that was not used for the longest time and that no sequence holds.
    fn forget_oldest(&mut self) {
        let leaves = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let node = node.as_ref()?;
            let idle = node.children.is_empty() && self.holders[node.page as usize] == 1;
            idle.then_some((node.used, index))
        });
        if let Some((_, index)) = leaves.min() {
            self.forget(index);
        }
    }

    fn forget(&mut self, index: usize) {
        let Some(node) = self.nodes[index].take() else { return };
        self.vacant.push(index);
        self.release(&[node.page]);
        match node.parent.and_then(|parent| self.nodes[parent].as_mut()) {
            Some(parent) => parent.children.retain(|child| *child != index),
            None => {
                if let Some(roots) = self.roots.get_mut(&node.scope) {
                    roots.retain(|root| *root != index);
                    if roots.is_empty() {
                        self.roots.remove(&node.scope);
                    }
                }
            }
        }
    }
}

/// Length of the common beginning.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(count: usize, seed: u32) -> Vec<u32> {
        (0..count as u32).map(|i| i * 31 % 97 + 1000 * seed).collect()
    }

    fn lone(pages: &mut Pages, scope: &str, tokens: &[u32]) {
        let taken = pages.take(tokens.len().div_ceil(PAGE)).unwrap();
        pages.remember(scope, tokens, &taken);
        pages.release(&taken);
    }

    #[test]
    fn a_beginning_is_found_in_whole_pages_and_a_part() {
        let mut pages = Pages::new(10);
        let first = tokens(80, 1);
        lone(&mut pages, "ana", &first);
        let mut second = first[..70].to_vec();
        second.extend(tokens(20, 2));
        let found = pages.find("ana", &second);
        assert_eq!((found.whole.len(), found.part.map(|part| part.1), found.tokens()), (2, Some(6), 70));
        assert_eq!(pages.find("ana", &tokens(50, 3)), Beginning::default());
    }

    #[test]
    fn nothing_is_found_in_another_scope() {
        let mut pages = Pages::new(10);
        lone(&mut pages, "ana", &tokens(80, 1));
        assert_eq!(pages.find("luis", &tokens(80, 1)), Beginning::default());
    }

    #[test]
    fn what_was_not_used_longest_makes_way_and_what_is_held_stays() {
        let mut pages = Pages::new(6);
        for seed in 1..=3 {
            lone(&mut pages, "ana", &tokens(64, seed));
        }
        // The first is used again, and the third is held.
        let first = pages.find("ana", &tokens(64, 1));
        pages.release(&first.whole);
        let third = pages.find("ana", &tokens(64, 3));
        assert_eq!(third.whole.len(), 2);
        let taken = pages.take(2).unwrap();
        assert_eq!(pages.find("ana", &tokens(64, 2)).tokens(), 0);
        assert!(pages.take(3).is_none(), "held pages were given away");
        let more = pages.take(2).unwrap();
        assert_eq!(pages.find("ana", &tokens(64, 1)).tokens(), 0);
        pages.release(&taken);
        pages.release(&more);
        pages.release(&third.whole);
        assert_eq!(pages.take(6).map(|all| all.len()), Some(6));
    }

    #[test]
    fn a_longer_part_takes_the_place_of_a_shorter_one() {
        let mut pages = Pages::new(8);
        let all = tokens(60, 1);
        lone(&mut pages, "ana", &all[..40]);
        lone(&mut pages, "ana", &all);
        lone(&mut pages, "ana", &all[..50]);
        assert_eq!(pages.find("ana", &all).tokens(), 60);
        assert_eq!(pages.nodes.iter().flatten().count(), 2);
    }

    /// Sequences come and go at random; no page is ever given out twice, and none is lost.
    #[test]
    fn pages_are_neither_lost_nor_given_out_twice() {
        let mut pages = Pages::new(40);
        let mut state = 1u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut running: Vec<(String, Vec<u32>, Vec<PageId>)> = Vec::new();
        for _ in 0..3000 {
            if next(2) == 0 && !running.is_empty() {
                let (scope, tokens, own) = running.swap_remove(next(running.len() as u32) as usize);
                pages.remember(&scope, &tokens, &own);
                pages.release(&own);
                continue;
            }
            let scope = format!("scope {}", next(3));
            let mut sequence = tokens(next(150) as usize + 1, next(3));
            sequence.extend(tokens(next(60) as usize, next(5)));
            let found = pages.find(&scope, &sequence);
            let need = sequence.len().div_ceil(PAGE) - found.whole.len();
            let fresh = pages.take(need);
            if let Some((page, _)) = found.part {
                pages.release(&[page]);
            }
            let Some(fresh) = fresh else {
                pages.release(&found.whole);
                continue;
            };
            let others = running.iter().flat_map(|(_, _, own)| own);
            assert!(others.clone().all(|page| !fresh.contains(page)), "a page was given out twice");
            let own = [found.whole, fresh].concat();
            running.push((scope, sequence, own));
        }
        for (_, _, own) in running {
            pages.release(&own);
        }
        assert_eq!(pages.take(40).map(|all| all.len()), Some(40));
        assert!(pages.nodes.iter().flatten().count() == 0 && pages.roots.is_empty());
    }
}
