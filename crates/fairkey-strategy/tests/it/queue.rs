//! Laws of the queue: whatever comes, leaves, is served and refused, in any order.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use fairkey_core::{Class, Cost, Timestamp};
use fairkey_strategy::queue::{Entry, Next, Queue, QueueConfig, Rest, Tenant, Then, Ticket};
use proptest::collection::vec;
use proptest::prelude::*;

const CLASSES: [Class; 3] = [Class::Interactive, Class::Normal, Class::Batch];
const TENANTS: [&str; 3] = ["a", "b", "c"];

fn after(now: Timestamp, millis: u32) -> Timestamp {
    now + Duration::from_millis(millis.into())
}

#[derive(Clone, Debug)]
struct Came {
    class: usize,
    tenant: usize,
    line: u8,
    tokens: u64,
    /// In milliseconds from now.
    limit: Option<u32>,
}

impl Came {
    fn entry(&self, now: Timestamp) -> Entry<u8> {
        let weight = [1, 2, 5][self.tenant];
        Entry {
            line: self.line,
            class: CLASSES[self.class],
            tenant: Some(Tenant::new(TENANTS[self.tenant]).weight(weight)),
            cost: Cost {
                tokens: self.tokens,
                ..Cost::ONE
            },
            limit: self.limit.map(|limit| after(now, limit)),
        }
    }
}

fn came() -> impl Strategy<Value = Came> {
    let limit = prop_oneof![Just(None), (1_u32..200_000).prop_map(Some)];
    (0..3_usize, 0..3_usize, 0..4_u8, 1..50_u64, limit).prop_map(
        |(class, tenant, line, tokens, limit)| Came {
            class,
            tenant,
            line,
            tokens,
            limit,
        },
    )
}

/// Whose turn it is, from the words of the documentation, with a list that is looked through.
#[derive(Default)]
struct Reference {
    waiting: Vec<Waiting>,
    passes: [u128; 3],
    floor: u128,
}

#[derive(Clone, Debug)]
struct Waiting {
    number: usize,
    came: Came,
    since: Timestamp,
    due: Timestamp,
    level: usize,
}

impl Reference {
    fn enter(&mut self, level: usize) {
        let waiting = |at: usize| self.waiting.iter().any(|it| it.level == at);
        if !waiting(level) {
            let passes = (0..3).filter(|at| waiting(*at)).map(|at| self.passes[at]);
            let lowest = passes.min().unwrap_or(self.floor);
            self.passes[level] = self.passes[level].max(lowest);
        }
    }

    fn push(&mut self, number: usize, came: Came, now: Timestamp) {
        let horizon = now + Duration::from_secs(600);
        let due = came.limit.map_or(horizon, |limit| after(now, limit));
        self.enter(came.class);
        self.waiting.push(Waiting {
            number,
            level: came.class,
            came,
            since: now,
            due,
        });
    }

    /// Lets those rise that have waited for a minute, while somebody waits of a class above, in the
    /// order of when that was.
    fn age(&mut self, now: Timestamp) {
        loop {
            let rises = |it: &Waiting| {
                let steps = it.came.class - it.level + 1;
                it.since + Duration::from_secs(60) * u32::try_from(steps).unwrap()
            };
            let next = (self.waiting.iter().enumerate())
                .filter(|(_, it)| rises(it) <= now)
                .filter(|(_, it)| self.waiting.iter().any(|other| other.came.class < it.level))
                .min_by_key(|(_, it)| (rises(it), it.number));
            let Some((at, _)) = next else { return };
            // It is in the upper class before it has left the lower.
            let level = self.waiting[at].level - 1;
            self.enter(level);
            self.waiting[at].level = level;
        }
    }

    /// Returns the class whose turn it is.
    fn turn(&self) -> Option<usize> {
        let levels = self.waiting.iter().map(|it| it.level);
        levels.min_by_key(|level| (self.passes[*level], *level))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Come(Came),
    Leave(usize),
    Serve,
    Settle(usize, u64),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => came().prop_map(Step::Come),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => Just(Step::Serve),
        1 => (any::<usize>(), 1..100_u64).prop_map(|(n, tokens)| Step::Settle(n, tokens)),
        1 => (0..90_000_u32).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whoever the queue names is of the class whose turn it is, as a list says that is looked
    /// through, and due first among those of its tenant and class.
    #[test]
    fn the_class_whose_turn_it_is_and_the_call_that_is_due_first(steps in vec(step(), 1..120)) {
        let mut now = Timestamp::ZERO;
        let mut queue = Queue::new(QueueConfig { refuse_early: false, ..QueueConfig::default() });
        let (mut model, mut tickets) = (Reference::default(), BTreeMap::<usize, Ticket>::new());
        let (mut charges, mut numbers) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Come(mut came) => {
                    // What is late is the other law's.
                    came.limit = came.limit.map(|limit| limit + 100_000_000);
                    let entry = came.entry(now);
                    let ticket = queue.ticket(now, entry.limit);
                    queue.push(entry, ticket, numbers, now).unwrap();
                    came.limit = came.limit.map(|limit| limit.min(600_000));
                    model.push(numbers, came, now);
                    tickets.insert(numbers, ticket);
                    numbers += 1;
                }
                Step::Leave(n) => {
                    if let Some(number) = tickets.keys().nth(n % tickets.len().max(1)).copied() {
                        let ticket = tickets.remove(&number).unwrap();
                        prop_assert_eq!(queue.remove(ticket), Some(number));
                        prop_assert_eq!(queue.remove(ticket), None);
                        model.waiting.retain(|it| it.number != number);
                    }
                }
                Step::Serve => {
                    model.age(now);
                    let mut pass = queue.begin(now);
                    let named = queue.next(&mut pass);
                    let Some(Next::Ask(at, number)) = named else {
                        prop_assert!(model.waiting.is_empty());
                        continue;
                    };
                    let it = model.waiting.iter().find(|it| it.number == number).unwrap().clone();
                    prop_assert_eq!(Some(it.level), model.turn(), "the class whose turn it is");
                    let own = model.waiting.iter().filter(|other| {
                        (other.level, other.came.tenant) == (it.level, it.came.tenant)
                    });
                    let first = own.min_by_key(|it| (it.due, it.number)).unwrap().number;
                    prop_assert_eq!(number, first, "due first");
                    let weight = [70, 20, 10][it.level];
                    let stride = u128::from((1_u64 << 24) / weight);
                    let before = model.passes[it.level];
                    let behind = model.floor.saturating_sub(8 * stride);
                    model.passes[it.level] = before.max(behind) + stride;
                    model.floor = model.floor.max(before);
                    charges.push(queue.serve(&mut pass, at).unwrap());
                    model.waiting.retain(|it| it.number != number);
                    tickets.remove(&number);
                }
                Step::Settle(n, tokens) => {
                    if !charges.is_empty() {
                        let charge = charges.swap_remove(n % charges.len());
                        queue.settle(charge, Some(Cost { tokens, ..Cost::ONE }));
                    }
                }
                Step::Pass(millis) => now = after(now, millis),
            }
            prop_assert_eq!(queue.len(), model.waiting.len());
            for (at, class) in CLASSES.iter().enumerate() {
                let waiting = model.waiting.iter().filter(|it| it.came.class == at).count();
                prop_assert_eq!(queue.waiting_of(*class), waiting);
            }
        }
    }
}

/// What there is for the calls of each line: some have room of their own, and all share a room.
#[derive(Debug)]
struct World {
    shared: u64,
    own: [u64; 4],
    closed: [Option<Timestamp>; 4],
}

impl World {
    /// Whether a call fits; `Err`: until when not, and whether that holds for its line.
    fn ask(&self, came: &Came, now: Timestamp) -> Result<(), (Option<Timestamp>, bool)> {
        let line = usize::from(came.line);
        match self.closed[line] {
            Some(until) if until > now => return Err((Some(until), true)),
            _ => {}
        }
        if came.tokens <= self.shared && came.tokens <= self.own[line] {
            Ok(())
        } else {
            Err((None, false))
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Come(Came),
    Leave(usize),
    /// So much comes free.
    Free(u64),
    FreeOwn(u8, u64),
    Close(u8, u32),
    Advance(u32),
    Stall,
    Reload,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => came().prop_map(Event::Come),
        1 => any::<usize>().prop_map(Event::Leave),
        4 => (1..120_u64).prop_map(Event::Free),
        2 => (0..4_u8, 1..120_u64).prop_map(|(line, n)| Event::FreeOwn(line, n)),
        1 => (0..4_u8, 1..90_000_u32).prop_map(|(line, millis)| Event::Close(line, millis)),
        2 => (0..20_000_u32).prop_map(Event::Advance),
        1 => Just(Event::Stall),
        1 => Just(Event::Reload),
    ]
}

struct Rig {
    now: Timestamp,
    queue: Queue<u8, usize>,
    world: World,
    calls: Vec<(Came, Timestamp, Ticket)>,
    waiting: HashSet<usize>,
    ended: HashSet<usize>,
}

impl Rig {
    fn answer(
        &mut self,
        next: &Next<usize>,
        pass: &mut fairkey_strategy::queue::Pass,
    ) -> Result<(), TestCaseError> {
        let (at, number) = match *next {
            Next::Ask(at, number) => (at, number),
            Next::Late(number) => {
                let (came, when, _) = &self.calls[number];
                prop_assert!(after(*when, came.limit.unwrap()) <= self.now, "it is late");
                prop_assert!(self.waiting.remove(&number));
                prop_assert!(self.ended.insert(number), "each ends once");
                return Ok(());
            }
        };
        prop_assert!(self.waiting.contains(&number), "{number} has left");
        let (came, when, _) = self.calls[number].clone();
        let in_time = came.limit.is_none_or(|limit| after(when, limit) > self.now);
        prop_assert!(in_time, "nobody is asked about after its time");
        match self.world.ask(&came, self.now) {
            Ok(()) => {
                self.world.shared -= came.tokens;
                self.world.own[usize::from(came.line)] -= came.tokens;
                let charge = self.queue.serve(pass, at);
                prop_assert!(charge.is_some());
                self.queue.settle(charge.unwrap(), None);
                prop_assert!(self.waiting.remove(&number));
                prop_assert!(self.ended.insert(number), "each ends once");
            }
            Err((until, closed)) => {
                if self.queue.refused(pass, at, until, closed) == Then::Look {
                    let small = Came { tokens: 1, ..came };
                    if self.world.ask(&small, self.now).is_ok() {
                        self.queue.hold(pass, at, until);
                    } else {
                        self.queue.note_other_bar(at);
                    }
                }
            }
        }
        Ok(())
    }

    /// What its keeper does whenever something may have become free.
    fn look(&mut self) -> Result<(), TestCaseError> {
        let mut pass = self.queue.begin(self.now);
        let mut asked = 0;
        while let Some(next) = self.queue.next(&mut pass) {
            self.answer(&next, &mut pass)?;
            asked += 1;
            prop_assert!(asked < 10_000, "a pass ends");
        }
        if pass.is_cut_short() || self.queue.has_rest() {
            let mut rest = Rest::default();
            loop {
                let mut pass = self.queue.begin(self.now);
                while let Some(next) = self.queue.next_of_rest(&mut rest, &mut pass) {
                    self.answer(&next, &mut pass)?;
                }
                if !pass.is_cut_short() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Nobody waits for what is there, but those who are held up for somebody.
    fn assert_nothing_is_left(&self) -> Result<(), TestCaseError> {
        if self.queue.is_holding() {
            return Ok(());
        }
        let smallest = |line: u8| {
            let of_line = self
                .waiting
                .iter()
                .filter(|n| self.calls[**n].0.line == line);
            of_line.map(|n| self.calls[*n].0.tokens).min()
        };
        for line in 0..4 {
            let Some(tokens) = smallest(line) else {
                continue;
            };
            let smallest = Came {
                class: 0,
                tenant: 0,
                line,
                tokens,
                limit: None,
            };
            prop_assert!(
                self.world.ask(&smallest, self.now).is_err(),
                "line {line} was forgotten"
            );
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn each_call_ends_once_and_nothing_is_left_lying(
        bypass in 0..20_u32,
        events in vec(event(), 1..150),
    ) {
        let config = QueueConfig { bypass, refuse_early: false, ..QueueConfig::default() };
        let world = World { shared: 50, own: [50; 4], closed: [None; 4] };
        let mut rig = Rig {
            now: Timestamp::ZERO,
            queue: Queue::new(config),
            world,
            calls: Vec::new(),
            waiting: HashSet::new(),
            ended: HashSet::new(),
        };
        for event in events {
            match event {
                Event::Come(came) => {
                    let entry = came.entry(rig.now);
                    let ticket = rig.queue.ticket(rig.now, entry.limit);
                    rig.queue.push(entry, ticket, rig.calls.len(), rig.now).unwrap();
                    rig.waiting.insert(rig.calls.len());
                    rig.calls.push((came, rig.now, ticket));
                }
                Event::Leave(n) => {
                    if !rig.calls.is_empty() {
                        let number = n % rig.calls.len();
                        let left = rig.queue.remove(rig.calls[number].2);
                        prop_assert_eq!(left.is_some(), rig.waiting.remove(&number));
                        if left.is_some() {
                            prop_assert!(rig.ended.insert(number), "each ends once");
                        }
                    }
                }
                Event::Free(n) => rig.world.shared += n,
                Event::FreeOwn(line, n) => rig.world.own[usize::from(line)] += n,
                Event::Close(line, millis) => {
                    rig.world.closed[usize::from(line)] = Some(after(rig.now, millis));
                }
                Event::Advance(millis) => rig.now = after(rig.now, millis),
                Event::Stall => {}
                Event::Reload => {
                    rig.world.closed = [None; 4];
                    rig.queue.open_all();
                }
            }
            rig.look()?;
            if bypass > 0 {
                rig.assert_nothing_is_left()?;
            }
            prop_assert_eq!(rig.queue.len(), rig.waiting.len());
        }
        // With room for all, everybody leaves within what others may be held up for.
        rig.world = World { shared: 1 << 40, own: [1 << 40; 4], closed: [None; 4] };
        rig.queue.open_all();
        rig.look()?;
        prop_assert!(rig.queue.is_empty() || rig.queue.is_holding());
        rig.now = after(rig.now, 60_000);
        rig.look()?;
        prop_assert!(rig.queue.is_empty(), "{:?} are left", rig.waiting);
        prop_assert_eq!(rig.ended.len(), rig.calls.len());
        prop_assert_eq!(rig.queue.next_opening(), None);
    }
}
