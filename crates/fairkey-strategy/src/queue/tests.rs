//! Who gets how much.

use fairkey_core::{Class, Random};

use super::*;

type Calls = Queue<&'static str, u32>;

fn queue(config: QueueConfig) -> Calls {
    Queue::new(config)
}

fn entry(class: Class, tenant: Option<Tenant>, tokens: u64) -> Entry<&'static str> {
    let cost = Cost {
        tokens,
        ..Cost::ONE
    };
    Entry {
        line: "m/a",
        class,
        tenant,
        cost,
        limit: None,
    }
}

fn push(queue: &mut Calls, entry: Entry<&'static str>, what: u32, now: Timestamp) {
    let ticket = queue.ticket(now, entry.limit);
    queue.push(entry, ticket, what, now).unwrap();
}

/// Serves whoever is next.
fn serve(queue: &mut Calls, now: Timestamp) -> Option<(u32, Charge)> {
    let mut pass = queue.begin(now);
    let Some(Next::Ask(number, what)) = queue.next(&mut pass) else {
        return None;
    };
    Some((what, queue.serve(&mut pass, number).unwrap()))
}

const NOW: Timestamp = Timestamp::ZERO;

#[test]
fn classes_that_all_wait_share_by_their_weights() {
    let classes = [Class::Interactive, Class::Normal, Class::Batch];
    let mut queue = queue(QueueConfig::default());
    for (n, class) in (0..).zip(classes) {
        for _ in 0..5 {
            push(&mut queue, entry(class, None, 10), n, NOW);
        }
    }
    let mut served = [0; 3];
    for _ in 0..1_000 {
        let (class, charge) = serve(&mut queue, NOW).unwrap();
        queue.settle(charge, None);
        served[class as usize] += 1;
        push(
            &mut queue,
            entry(classes[class as usize], None, 10),
            class,
            NOW,
        );
    }
    for (served, part) in served.iter().zip([700, 200, 100]) {
        assert!(
            (part * 95 / 100..=part * 105 / 100).contains(served),
            "{served} of {part}"
        );
    }
}

#[test]
fn a_class_of_which_nobody_waits_leaves_its_part_and_saves_nothing_up() {
    let mut queue = queue(QueueConfig::default());
    for _ in 0..2_000 {
        push(&mut queue, entry(Class::Interactive, None, 10), 0, NOW);
        push(&mut queue, entry(Class::Batch, None, 10), 2, NOW);
    }
    for _ in 0..100 {
        push(&mut queue, entry(Class::Normal, None, 10), 1, NOW);
    }
    let mut first = [0; 3];
    for _ in 0..800 {
        first[serve(&mut queue, NOW).unwrap().0 as usize] += 1;
    }
    // All normal calls were served on the way; seven to one since.
    assert_eq!(first[1], 100);
    for _ in 0..100 {
        push(&mut queue, entry(Class::Normal, None, 10), 1, NOW);
    }
    let mut then = [0; 3];
    for _ in 0..100 {
        then[serve(&mut queue, NOW).unwrap().0 as usize] += 1;
    }
    assert!(
        (67..=73).contains(&then[0]) && (17..=23).contains(&then[1]),
        "{then:?}"
    );
}

/// Two tenants that always wait, of weights 1 and 3, with calls of all sizes, which are estimated
/// badly; returns what each really had.
fn backlogged(settles: bool, cost_of: impl Fn(u64) -> Cost) -> [u64; 2] {
    let mut queue = queue(QueueConfig::default());
    let mut chance = Random::new(3);
    let tenant = |n: u32| Some(Tenant::new(["a", "b"][n as usize]).weight([1, 3][n as usize]));
    let (mut had, mut open) = ([0; 2], Vec::new());
    for n in 0..2 {
        for _ in 0..10 {
            push(&mut queue, entry(Class::Normal, tenant(n), 400), n, NOW);
        }
    }
    for _ in 0..20_000 {
        let (n, charge) = serve(&mut queue, NOW).unwrap();
        // All calls are estimated at 400; those of "a" are larger, and those of "b" smaller.
        let mean = [800, 200][n as usize];
        let tokens = 1 + u64::from(chance.below(2 * mean));
        had[n as usize] += tokens;
        open.push((charge, cost_of(tokens)));
        // Eight are under way.
        if open.len() > 8 {
            let (charge, cost) = open.remove(0);
            queue.settle(charge, settles.then_some(cost));
        }
        push(&mut queue, entry(Class::Normal, tenant(n), 400), n, NOW);
    }
    had
}

fn assert_by_weight([a, b]: [u64; 2]) {
    let part = a as f64 / (a + b) as f64;
    assert!(
        (0.25 * 0.95..=0.25 * 1.05).contains(&part),
        "{part} for the tenant of weight 1"
    );
}

#[test]
fn tenants_that_all_wait_share_what_is_really_used_by_their_weights() {
    let tokens = |tokens| Cost {
        tokens,
        ..Cost::ONE
    };
    assert_by_weight(backlogged(true, tokens));
    let money = |tokens| Cost {
        tokens,
        micro_usd: 3 * tokens,
        ..Cost::ONE
    };
    assert_by_weight(backlogged(true, money));
    // By estimates alone it would be three calls to one.
    let [a, b] = backlogged(false, tokens);
    assert!(a * 10 > b * 12, "without settling: {a} and {b}");
}

/// One tenant is served alone for long; then another comes back, and both wait. Returns which part
/// the one that comes back gets of what is served next.
fn part_of_the_idler(lifts: bool) -> f64 {
    let mut queue = queue(QueueConfig::default());
    queue.tenants.lifts = lifts;
    let busy = || entry(Class::Normal, Some("busy".into()), 100);
    let idler = || entry(Class::Normal, Some("idler".into()), 100);
    push(&mut queue, idler(), 1, NOW);
    push(&mut queue, busy(), 0, NOW);
    push(&mut queue, busy(), 0, NOW);
    for _ in 0..500 {
        let _ = serve(&mut queue, NOW).unwrap();
        push(&mut queue, busy(), 0, NOW);
    }
    for _ in 0..1_000 {
        push(&mut queue, busy(), 0, NOW);
        push(&mut queue, idler(), 1, NOW);
    }
    let served: u32 = (0..600).map(|_| serve(&mut queue, NOW).unwrap().0).sum();
    f64::from(served) / 600.0
}

#[test]
fn who_comes_back_gets_its_part_and_nothing_for_having_been_idle() {
    let part = part_of_the_idler(true);
    assert!((0.475..=0.525).contains(&part), "{part}");
    // This is what the lift is for.
    let part = part_of_the_idler(false);
    assert!(part > 0.8, "{part} without it");
}

#[test]
fn within_a_tenant_who_is_due_first_is_next() {
    let mut queue = queue(QueueConfig::default());
    let at = |secs| NOW + Duration::from_secs(secs);
    for (n, limit) in [(0, 50), (1, 20), (2, 90), (3, 20), (4, 10)] {
        let limit = Some(at(limit));
        push(
            &mut queue,
            Entry {
                limit,
                ..entry(Class::Normal, None, 1)
            },
            n,
            NOW,
        );
    }
    let order: Vec<_> = std::iter::from_fn(|| Some(serve(&mut queue, NOW)?.0)).collect();
    assert_eq!(order, [4, 1, 3, 0, 2]);
}

#[test]
fn who_has_waited_long_rises_and_counts_as_of_its_class_all_the_same() {
    let mut queue = queue(QueueConfig::default());
    let at = |secs| NOW + Duration::from_secs(secs);
    push(&mut queue, entry(Class::Batch, None, 1), 2, NOW);
    for _ in 0..50 {
        push(&mut queue, entry(Class::Interactive, None, 1), 0, at(60));
        push(&mut queue, entry(Class::Normal, None, 1), 1, at(60));
    }
    assert_eq!(queue.waiting_of(Class::Batch), 1);
    queue.begin(at(59));
    assert_eq!(
        queue.levels.each_ref().map(|level| level.waiting),
        [50, 50, 1]
    );
    queue.begin(at(60));
    assert_eq!(
        queue.levels.each_ref().map(|level| level.waiting),
        [50, 51, 0]
    );
    queue.begin(at(120));
    assert_eq!(
        queue.levels.each_ref().map(|level| level.waiting),
        [101, 0, 0]
    );
    assert_eq!(queue.waiting_of(Class::Batch), 1);
    // Nobody that came after it is before it by now.
    assert_eq!(serve(&mut queue, at(120)).unwrap().0, 2);
    assert_eq!(queue.waiting_of(Class::Batch), 0);
}

#[test]
fn the_next_smallest_is_asked_about_where_the_smallest_is_late() {
    let mut queue = queue(QueueConfig::default());
    let at = NOW + Duration::from_secs(1);
    push(&mut queue, entry(Class::Interactive, None, 40), 0, NOW);
    let late = Entry {
        limit: Some(at),
        ..entry(Class::Batch, None, 2)
    };
    push(&mut queue, late, 1, NOW);
    push(&mut queue, entry(Class::Batch, None, 3), 2, NOW);
    let mut pass = queue.begin(at);
    let Some(Next::Ask(first, 0)) = queue.next(&mut pass) else {
        panic!("who came first");
    };
    queue.refused(&mut pass, first, None, false);
    assert_eq!(queue.next(&mut pass), Some(Next::Late(1)));
    assert!(matches!(queue.next(&mut pass), Some(Next::Ask(_, 2))));
}

#[test]
fn tenants_are_forgotten_when_they_are_many_and_numbers_are_not_used_again() {
    let config = QueueConfig {
        tenants: 10,
        ..QueueConfig::default()
    };
    let mut queue = queue(config);
    let mut charges = Vec::new();
    for n in 0..1_000 {
        let tenant = Tenant::new(format!("tenant {n}"));
        push(&mut queue, entry(Class::Normal, Some(tenant), 100), n, NOW);
        charges.push(serve(&mut queue, NOW).unwrap().1);
        assert!(queue.tenants() <= 11, "{}", queue.tenants());
    }
    // Late settlements of those who are forgotten hit nobody.
    for charge in charges {
        queue.settle(
            charge,
            Some(Cost {
                tokens: 1 << 40,
                ..Cost::ONE
            }),
        );
    }
    assert!(queue.tenants() <= 11);
}

#[test]
fn what_has_no_room_is_refused() {
    let config = QueueConfig {
        length: 4,
        length_per_class: PerClass {
            batch: Some(1),
            ..PerClass::default()
        },
        length_per_tenant: Some(2),
        ..QueueConfig::default()
    };
    let mut queue = queue(config);
    let mut try_push = |class, tenant: Option<&'static str>| {
        let ticket = queue.ticket(NOW, None);
        let entry = entry(class, tenant.map(Into::into), 1);
        queue
            .push(entry, ticket, 0, NOW)
            .map_err(|refused| refused.why)
    };
    assert_eq!(try_push(Class::Batch, None), Ok(()));
    assert_eq!(try_push(Class::Batch, None), Err(Full::Class));
    assert_eq!(try_push(Class::Normal, Some("a")), Ok(()));
    assert_eq!(try_push(Class::Normal, Some("a")), Ok(()));
    assert_eq!(try_push(Class::Interactive, Some("a")), Err(Full::Tenant));
    assert_eq!(try_push(Class::Normal, None), Ok(()));
    assert_eq!(try_push(Class::Normal, Some("b")), Err(Full::Queue));
}

#[test]
fn who_would_wait_too_long_is_told_so_and_when_to_come_again() {
    let mut queue = queue(QueueConfig::default());
    let at = |millis| NOW + Duration::from_millis(millis);
    let limit = |millis| Entry {
        limit: Some(at(millis)),
        ..entry(Class::Normal, None, 1)
    };
    // Nothing is known yet: nobody is turned away.
    for _ in 0..200 {
        push(&mut queue, limit(19_000), 0, NOW);
    }
    // Ten are served in a second.
    let mut served = 0;
    for n in 0..50 {
        let mut pass = queue.begin(NOW);
        if let Some(Next::Ask(number, _)) = queue.next(&mut pass) {
            pass.now = at(n * 100);
            let _ = queue.serve(&mut pass, number);
            served += 1;
        }
    }
    assert_eq!((served, queue.len()), (50, 150));
    let now = at(5_000);
    // 150 wait, of which half the rate were 15 s.
    let ticket = queue.ticket(now, Some(at(5_000 + 14_000)));
    let refused = queue
        .push(limit(5_000 + 14_000), ticket, 0, now)
        .unwrap_err();
    assert_eq!(refused.why, Full::TooLate);
    let wait = refused.wait.unwrap().as_secs_f64();
    assert!((15.0..15.3).contains(&wait), "{wait}");
    let ticket = queue.ticket(now, Some(at(21_000)));
    // Just enough is not enough: half of those would wait in vain.
    assert!(queue.push(limit(20_500), ticket, 0, now).is_err());
    assert!(queue.push(limit(22_000), ticket, 0, now).is_ok());
    // Who is due before them passes them, and need not wait that long.
    let ticket = queue.ticket(now, Some(at(18_000)));
    assert!(queue.push(limit(18_000), ticket, 0, now).is_ok());
}

/// Whether there is something for a call: its tokens fit into what is free.
fn offer(queue: &mut Calls, room: &mut u64, now: Timestamp) -> Vec<u32> {
    let (mut pass, mut served) = (queue.begin(now), Vec::new());
    while let Some(next) = queue.next(&mut pass) {
        let Next::Ask(number, tokens) = next else {
            continue;
        };
        if u64::from(tokens) <= *room {
            *room -= u64::from(tokens);
            let _ = queue.serve(&mut pass, number);
            served.push(tokens);
        } else if queue.refused(&mut pass, number, None, false) == Then::Look {
            queue.hold(&mut pass, number, None);
        }
    }
    served
}

#[test]
fn small_calls_pass_one_that_does_not_fit_and_only_so_many() {
    let config = QueueConfig {
        bypass: 5,
        ..QueueConfig::default()
    };
    let mut queue = queue(config);
    let other = |tokens| Entry {
        line: "m/b",
        ..entry(Class::Normal, None, tokens)
    };
    push(&mut queue, entry(Class::Normal, None, 100), 100, NOW);
    for _ in 0..20 {
        push(&mut queue, entry(Class::Normal, None, 10), 10, NOW);
        push(&mut queue, other(10), 10, NOW);
    }
    // Room for one small call comes free at a time.
    let (mut room, mut passed) = (0, 0);
    loop {
        room += 10;
        let served = offer(&mut queue, &mut room, NOW);
        if served.first() == Some(&100) {
            break;
        }
        passed += served.len();
        assert!(passed <= 7, "{passed} were served past it");
    }
    // Five, and one of the other line: it was let by once, to see whether it made the call wait.
    assert!((5..=6).contains(&passed), "{passed}");
    room = 1_000;
    assert_eq!(offer(&mut queue, &mut room, NOW).len(), 40 - passed);
}

#[test]
fn nobody_is_held_up_for_longer_than_is_said() {
    let config = QueueConfig {
        bypass: 2,
        hold: Duration::from_secs(10),
        ..QueueConfig::default()
    };
    let mut queue = queue(config);
    push(&mut queue, entry(Class::Normal, None, 100), 100, NOW);
    for _ in 0..20 {
        push(&mut queue, entry(Class::Normal, None, 10), 10, NOW);
    }
    let at = |secs| NOW + Duration::from_secs(secs);
    // It never fits: there is never room for more than one small call.
    let served: Vec<_> = (0..40)
        .map(|secs| offer(&mut queue, &mut 10, at(secs)).len())
        .collect();
    assert_eq!(served[..2], [1, 1]);
    assert_eq!(
        served.iter().sum::<usize>(),
        8,
        "two in every twelve seconds: {served:?}"
    );
}

/// Asks about who is next, and says that there is nothing for it.
fn refuse(queue: &mut Calls, pass: &mut Pass) -> Option<u32> {
    let Some(Next::Ask(number, what)) = queue.next(pass) else {
        return None;
    };
    queue.refused(pass, number, None, false);
    Some(what)
}

#[test]
fn what_passes_one_that_is_too_large_does_so_in_the_usual_order() {
    let mut queue = queue(QueueConfig::default());
    for tokens in [100, 200, 60, 10, 50] {
        push(
            &mut queue,
            entry(Class::Normal, None, tokens),
            tokens as u32,
            NOW,
        );
    }
    let mut pass = queue.begin(NOW);
    let asked: Vec<u32> = std::iter::from_fn(|| refuse(&mut queue, &mut pass)).collect();
    // Until the last try: if there is nothing for the smallest, there is nothing.
    assert_eq!(asked, [100, 60, 10], "not the smallest first");
}

#[test]
fn a_tenant_whose_calls_are_small_passes_no_other_that_has_small_ones() {
    let mut queue = queue(QueueConfig::default());
    for (tokens, name) in [(10, "b"), (11, "b"), (100, "a"), (50, "a")] {
        let entry = entry(Class::Normal, Some(Tenant::new(name)), tokens);
        push(&mut queue, entry, tokens as u32, NOW);
    }
    // The first goes to the tenant that came first; then the other one is due.
    assert_eq!(serve(&mut queue, NOW).unwrap().0, 10);
    let mut pass = queue.begin(NOW);
    assert_eq!(refuse(&mut queue, &mut pass), Some(100));
    let Some(Next::Ask(_, next)) = queue.next(&mut pass) else {
        panic!("somebody is small enough");
    };
    assert_eq!(next, 50, "the tenant's own, not the smallest of all");
}

#[test]
fn those_who_wait_are_estimated_anew_the_first_of_each_tenant_first() {
    let mut queue = queue(QueueConfig::default());
    for name in ["a", "b"] {
        for n in 0..20 {
            let entry = entry(Class::Normal, Some(Tenant::new(name)), 1_000);
            push(&mut queue, entry, n, NOW);
        }
    }
    let small = Cost {
        tokens: 10,
        ..Cost::ONE
    };
    queue.revise_some(100, |_| panic!("nobody said that anything has changed"));
    queue.reconsider(|line| *line == "m/b");
    queue.revise_some(100, |_| panic!("of another line"));
    queue.reconsider(|line| *line == "m/a");
    queue.revise_some(16, |_| small);
    let revised = |queue: &Calls| {
        let items = queue.items.values().filter(|item| item.cost() == small);
        let mut revised: Vec<u32> = items.map(|item| item.item).collect();
        revised.sort_unstable();
        revised
    };
    let twice: Vec<u32> = (0..8).flat_map(|n| [n, n]).collect();
    assert_eq!(revised(&queue), twice);
    for _ in 0..3 {
        queue.revise_some(16, |_| small);
    }
    assert_eq!(revised(&queue).len(), 40);
    queue.revise_some(16, |_| panic!("all are done"));
    // What is smaller now passes what is too large.
    push(
        &mut queue,
        entry(Class::Normal, Some(Tenant::new("a")), 500),
        99,
        NOW,
    );
    let line = queue.lines.values().next().unwrap();
    assert_eq!(line.by_size.len(), 41);
    assert_eq!(line.by_size.first().unwrap().0, Size::of(small));
}

#[test]
fn what_a_closed_line_has_kept_takes_turns_with_the_others_of_its_tenant() {
    let mut queue = queue(QueueConfig::default());
    let of = |line| Entry {
        line,
        ..entry(Class::Normal, None, 10)
    };
    for _ in 0..4 {
        push(&mut queue, of("m/a"), 1, NOW);
    }
    let mut pass = queue.begin(NOW);
    let Some(Next::Ask(number, _)) = queue.next(&mut pass) else {
        panic!("somebody waits");
    };
    queue.refused(&mut pass, number, None, true);
    for _ in 0..4 {
        push(&mut queue, of("m/b"), 2, NOW);
    }
    assert!(queue.open(&"m/a") && queue.is_behind(number));
    // Those who come now have not waited for it.
    push(&mut queue, of("m/a"), 3, NOW);
    let order = std::iter::from_fn(|| serve(&mut queue, NOW)).map(|(what, _)| what);
    assert_eq!(order.collect::<Vec<_>>(), [1, 2, 1, 2, 1, 2, 1, 2, 3]);
}
