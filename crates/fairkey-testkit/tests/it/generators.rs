//! The generators make what their names say.

use std::collections::HashSet;

use fairkey_core::{Outcome, Scope, Scopes};
use fairkey_testkit::Step;
use fairkey_testkit::generate::{self, Change, KeySpec, Mix, Op};
use fairkey_testkit::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_keys_make_a_pool(specs in generate::key_specs(1..20)) {
        let pool = Pool::builder().keys(generate::keys_of(&specs)).build();
        prop_assert_eq!(pool.map(|pool| pool.len()), Ok(specs.len()));
    }

    #[test]
    fn generated_faults_are_of_the_scopes_asked_for(
        fault in generate::faults(Scopes::of(Scope::Key).and(Scope::Model)),
    ) {
        prop_assert!(matches!(fault.scope(), Some(Scope::Key | Scope::Model)), "{:?}", fault);
    }

    #[test]
    fn any_sequence_of_changes_leaves_a_set_of_keys_that_differ(
        specs in generate::key_specs(1..5),
        changes in proptest::collection::vec(generate::changes(), 0..30),
    ) {
        let mut specs = specs;
        for change in changes {
            change.apply(&mut specs);
            let names: HashSet<u16> = specs.iter().map(|spec| spec.name).collect();
            prop_assert!(names.len() == specs.len() && !specs.is_empty());
        }
    }

    #[test]
    fn a_pool_and_its_model_agree_after_any_sequence(
        specs in generate::key_specs(1..6),
        ops in generate::ops(&Mix::everything(), 0..60),
    ) {
        let mut stage = Stage::new(&specs, fairkey_testkit::Wanted, &[]);
        for op in &ops {
            if let Err(what) = stage.apply(op) {
                prop_assert!(false, "{:?}: {}", op, what);
            }
        }
    }
}

#[test]
fn scopes_and_the_others_are_all() {
    let some = Scopes::of(Scope::Key).and(Scope::Caller);
    let others = generate::others(some);
    for scope in Scope::ALL {
        assert_ne!(some.contains(scope), others.contains(scope), "{scope}");
    }
}

#[test]
fn a_model_that_was_not_told_of_a_lease_disagrees() {
    let specs = generate::plain_keys(2);
    let keys = generate::keys_of(&specs);
    let pool = Pool::builder().keys(keys.clone()).build().unwrap();
    let model = PoolModel::new(&pool, &keys).unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    let what = model.agrees(&pool).unwrap_err();
    assert!(
        what.contains("counts 1 in flight and 0 leases live"),
        "{what}"
    );
    lease.finish(Outcome::Success);
    assert_eq!(model.agrees(&pool), Ok(()));
}

#[test]
fn a_model_that_was_not_told_of_a_reload_disagrees() {
    let specs = generate::plain_keys(2);
    let keys = generate::keys_of(&specs);
    let pool = Pool::builder().keys(keys.clone()).build().unwrap();
    let mut model = PoolModel::new(&pool, &keys).unwrap();
    let reload = pool.reload(keys[..1].to_vec()).unwrap();
    assert!(model.agrees(&pool).unwrap_err().contains("1 of 2 keys"));
    // And one that is told something else than the pool did objects to the report.
    let what = model
        .reloaded(&pool, &keys[..1], &Default::default())
        .unwrap_err();
    assert!(what.contains("removed"), "{what}");
    let mut model = PoolModel::new(&pool, &keys[..1]).unwrap();
    assert_eq!(
        model.reloaded(&pool, &keys[..1], &pool.reload(keys[..1].to_vec()).unwrap()),
        Ok(())
    );
    assert_eq!(reload.removed.len(), 1);
}

#[test]
fn a_stage_tells_what_came_of_an_operation() {
    let mut stage = Stage::new(&generate::plain_keys(2), fairkey_testkit::Wanted, &[]);
    let ask = generate::AskSpec::for_key(1);
    assert_eq!(
        stage.apply(&Op::Select(ask)),
        Ok(Step::Selected("k1".to_owned()))
    );
    let replaced = stage.apply(&Op::Reload(vec![
        Change::Replace(1),
        Change::Add(KeySpec::plain(7)),
    ]));
    let Ok(Step::Reloaded(reload)) = replaced else {
        panic!("{replaced:?}");
    };
    assert_eq!(reload.replaced, ["k1".into()]);
    assert_eq!(reload.added, ["k7".into()]);
    assert_eq!(stage.live().len(), 1);
    assert_eq!(stage.apply(&Op::Drop(200)), Ok(Step::Done));
    assert_eq!(stage.live().len(), 0);
}
