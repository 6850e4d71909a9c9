//! Lists threaded through the entries of a table: no memory of their own,
//! unlinking from the middle in constant time. A member stands in at most one
//! list at a time through its one [`Link`].
//!
//! Invariant: every link leads to a slot in use. A broken link is our own bug
//! and ends the program.

use base::Slab;

/// No slot: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// The neighbours of a member, as slots of its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

/// What can stand in a list.
pub(crate) trait Linked {
    fn link(&self) -> Link;
    fn link_mut(&mut self) -> &mut Link;
}

/// First and last member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl Link {
    pub(crate) const NOWHERE: Self = Self { previous: NONE, next: NONE };
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE };

    pub(crate) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// All members in order.
    pub(crate) fn members<'t, T: Linked>(
        &self,
        table: &'t Slab<T>,
    ) -> impl Iterator<Item = u32> + 't {
        let next = |index: &u32| {
            let next = member(table, *index).link().next;
            (next != NONE).then_some(next)
        };
        std::iter::successors(self.head(), next)
    }

    pub(crate) fn push_back<T: Linked>(&mut self, table: &mut Slab<T>, index: u32) {
        *member_mut(table, index).link_mut() = Link { previous: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = index,
            tail => member_mut(table, tail).link_mut().next = index,
        }
        self.tail = index;
    }

    pub(crate) fn push_front<T: Linked>(&mut self, table: &mut Slab<T>, index: u32) {
        *member_mut(table, index).link_mut() = Link { previous: NONE, next: self.head };
        match self.head {
            NONE => self.tail = index,
            head => member_mut(table, head).link_mut().previous = index,
        }
        self.head = index;
    }

    /// Puts `index` in front of `before`, which must stand in this list.
    pub(crate) fn push_before<T: Linked>(&mut self, table: &mut Slab<T>, index: u32, before: u32) {
        let previous = member(table, before).link().previous;
        if previous == NONE {
            return self.push_front(table, index);
        }
        *member_mut(table, index).link_mut() = Link { previous, next: before };
        member_mut(table, previous).link_mut().next = index;
        member_mut(table, before).link_mut().previous = index;
    }

    /// Takes out `index`, which must stand in this list.
    pub(crate) fn unlink<T: Linked>(&mut self, table: &mut Slab<T>, index: u32) {
        let Link { previous, next } = member_mut(table, index).link();
        match previous {
            NONE => {
                assert_eq!(self.head, index, "a member without predecessor is the head");
                self.head = next;
            }
            previous => member_mut(table, previous).link_mut().next = next,
        }
        match next {
            NONE => {
                assert_eq!(self.tail, index, "a member without successor is the tail");
                self.tail = previous;
            }
            next => member_mut(table, next).link_mut().previous = previous,
        }
        *member_mut(table, index).link_mut() = Link::NOWHERE;
    }
}

/// The entry in slot `index`, which is known to be in use.
pub(crate) fn member<T>(table: &Slab<T>, index: u32) -> &T {
    table.at(index).expect("a link leads to a slot in use")
}

/// The entry in slot `index`, to be changed.
pub(crate) fn member_mut<T>(table: &mut Slab<T>, index: u32) -> &mut T {
    table.at_mut(index).expect("a link leads to a slot in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node(Link);

    impl Linked for Node {
        fn link(&self) -> Link {
            self.0
        }
        fn link_mut(&mut self) -> &mut Link {
            &mut self.0
        }
    }

    fn order(list: &List, table: &Slab<Node>) -> Vec<u32> {
        let mut order = Vec::new();
        let mut index = list.head;
        while index != NONE {
            order.push(index);
            index = table.at(index).unwrap().0.next;
        }
        order
    }

    #[test]
    fn members_come_and_go_at_both_ends_and_in_the_middle() {
        let mut table = Slab::new(9);
        for _ in 0..4 {
            assert!(table.insert(Node(Link::NOWHERE)).is_ok());
        }
        let mut list = List::EMPTY;
        list.push_back(&mut table, 1);
        list.push_back(&mut table, 2);
        list.push_front(&mut table, 0);
        list.push_back(&mut table, 3);
        assert_eq!(order(&list, &table), [0, 1, 2, 3]);
        list.unlink(&mut table, 0);
        list.push_before(&mut table, 0, 3);
        assert_eq!(order(&list, &table), [1, 2, 0, 3]);
        list.unlink(&mut table, 0);
        list.push_before(&mut table, 0, 1);
        assert_eq!(order(&list, &table), [0, 1, 2, 3]);
        list.unlink(&mut table, 2);
        assert_eq!(order(&list, &table), [0, 1, 3]);
        list.unlink(&mut table, 3);
        list.unlink(&mut table, 0);
        assert_eq!(order(&list, &table), [1]);
        list.unlink(&mut table, 1);
        assert!(list.is_empty());
        list.push_front(&mut table, 2);
        assert_eq!(list.head(), Some(2));
    }

    #[test]
    #[should_panic(expected = "a member without predecessor is the head")]
    fn unlinking_a_stranger_is_our_bug() {
        let mut table = Slab::new(9);
        assert!(table.insert(Node(Link::NOWHERE)).is_ok());
        let mut list = List::EMPTY;
        list.unlink(&mut table, 0);
    }
}
