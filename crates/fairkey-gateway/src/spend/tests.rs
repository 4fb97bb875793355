use std::sync::atomic::{AtomicU64, Ordering};

use fairkey_core::KeyId;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tenant::{Budget, TenantConfig, TokenHash, Used};

/// A time of day that a test moves.
#[derive(Debug)]
struct Wall(AtomicU64);

impl WallClock for Wall {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// 2025-01-01 12:00 UTC.
const NOON: u64 = 1_735_732_800;

fn wall(at: u64) -> Arc<Wall> {
    Arc::new(Wall(AtomicU64::new(at)))
}

fn config() -> SpendConfig {
    SpendConfig {
        // Written when a test says so.
        flush_every: Duration::from_secs(3_600),
        ..SpendConfig::default()
    }
}

fn spent(tenant: &str, key: &str, model: &str, at: u64, micro_usd: u64) -> Spent {
    Spent {
        tenant: tenant.into(),
        key: Some(KeyId::from(key)),
        model: Some(model.into()),
        at: Duration::from_secs(at),
        used: Used {
            tokens: 5,
            micro_usd,
        },
        is_guess: false,
    }
}

fn open(path: &Path, config: SpendConfig, at: u64) -> SpendStore {
    let (store, warnings) = SpendStore::open(Some(path), config, wall(at)).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    store
}

fn total(store: &SpendStore) -> (u64, u64) {
    let rows = store.rows();
    (
        rows.iter().map(|row| row.calls).sum(),
        rows.iter().map(|row| row.micro_usd).sum(),
    )
}

#[test]
fn what_was_spent_survives_a_restart() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spend");
    let store = open(&path, config(), NOON);
    for n in 0..10 {
        store.recorder().record(spent("a", "k1", "m/1", NOON, n));
    }
    store.recorder().record(spent("b", "k2", "m/2", NOON, 7));
    let rows = store.rows();
    drop(store);
    let store = open(&path, config(), NOON + 60);
    assert_eq!(store.rows(), rows);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0].calls, rows[0].micro_usd, rows[0].tokens),
        (10, 45, 50)
    );
    store
        .recorder()
        .record(spent("a", "k1", "m/1", NOON + 60, 5));
    store.flush();
    assert_eq!(total(&store), (12, 57));
    // No write is pending: what is on disk now is all of it.
    let copy = folder.path().join("copy");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(total(&open(&copy, config(), NOON)), (12, 57));
}

#[test]
fn a_tenants_budget_goes_on_where_it_stood() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spend");
    let tenants = || {
        let mut config = TenantConfig::new("a");
        config.tokens = vec![TokenHash::of("t")];
        config.limits.money = vec![Budget {
            micro_usd: 100,
            per: Per::Day,
        }];
        Tenants::new([config]).unwrap()
    };
    let store = open(&path, config(), NOON);
    store
        .recorder()
        .record(spent("a", "k1", "m/1", NOON - 86_400, 1_000));
    store
        .recorder()
        .record(spent("a", "k1", "m/1", NOON - 7_200, 30));
    store.recorder().record(spent("a", "k2", "m/2", NOON, 60));
    store
        .recorder()
        .record(spent("b", "k2", "m/2", NOON, 1_000));
    drop(store);
    for (at, hour, day) in [(NOON, 60, 90), (NOON + 3_600, 0, 90), (NOON + 43_200, 0, 0)] {
        let tenants = tenants();
        open(&path, config(), at).restore(&tenants);
        let money = |per| tenants.all()[0].money(per, Duration::from_secs(at)).0;
        assert_eq!(
            (money(Per::Hour), money(Per::Day), money(Per::Total)),
            (hour, day, 1_090)
        );
    }
}

/// Why it cannot be opened.
fn refused(path: &Path) -> String {
    let opened = SpendStore::open(Some(path), config(), wall(NOON));
    opened.expect_err("it is of no use").to_string()
}

#[test]
fn a_second_process_writes_nothing_and_says_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spend");
    let first = open(&path, config(), NOON);
    let (second, warnings) = SpendStore::open(Some(&path), config(), wall(NOON)).unwrap();
    assert!(warnings[0].contains("another process"), "{warnings:?}");
    second.recorder().record(spent("a", "k", "m", NOON, 5));
    assert_eq!(total(&second), (1, 5));
    second.flush();
    drop(second);
    drop(first);
    assert_eq!(total(&open(&path, config(), NOON)), (0, 0));
}

#[test]
fn another_file_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("fairkey.toml");
    for text in ["[[keys]]\n", "x", "00000000 {}\n", &"a".repeat(40_000)] {
        std::fs::write(&path, text).unwrap();
        assert!(refused(&path).contains("left as it is"), "{text:.20}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn what_cannot_be_kept_is_an_error() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    assert!(refused(&folder.join("none/spend")).contains("its folder has to be there"));
    std::fs::create_dir(folder.join("spend")).unwrap();
    assert!(refused(&folder.join("spend")).contains("has to be a file"));
}

#[test]
fn a_file_that_grows_is_written_anew_and_says_the_same() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spend");
    let config = SpendConfig {
        compact_bytes: 4_096,
        ..config()
    };
    let store = open(&path, config, NOON);
    let mut most = 0;
    for n in 0..300 {
        store
            .recorder()
            .record(spent("a", &format!("k{}", n % 3), "m", NOON, 1));
        store.flush();
        most = most.max(std::fs::metadata(&path).unwrap().len());
    }
    assert!(most < 6_000, "{most} bytes");
    let rows = store.rows();
    assert_eq!(total(&store), (300, 300));
    drop(store);
    assert_eq!(open(&path, config, NOON).rows(), rows);
}

#[test]
fn models_beyond_the_bound_are_summed_up() {
    let config = SpendConfig {
        max_rows: 10,
        ..config()
    };
    let (store, _) = SpendStore::open(None, config, wall(NOON)).unwrap();
    for n in 0..1_000 {
        store
            .recorder()
            .record(spent("a", "k", &format!("m/{n}"), NOON, 1));
    }
    let rows = store.rows();
    assert!(rows.len() <= 12, "{}", rows.len());
    assert_eq!(total(&store), (1_000, 1_000));
    assert!(
        rows.iter()
            .any(|row| &*row.model == "(other)" && row.calls > 900)
    );
}

#[test]
fn what_cannot_be_written_is_written_later() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spend");
    let config = SpendConfig {
        compact_bytes: 1,
        ..config()
    };
    let store = open(&path, config, NOON);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    store.on_change(move |news| tell.lock().unwrap().push(news.to_owned()));
    // Where the new file is to be written, a folder is in the way.
    let way = folder.path().join("spend.new");
    std::fs::create_dir(&way).unwrap();
    store.recorder().record(spent("a", "k", "m", NOON, 5));
    store.flush();
    assert_eq!(store.failures(), 1);
    store.flush();
    assert_eq!(store.failures(), 2);
    std::fs::remove_dir(&way).unwrap();
    store.flush();
    assert_eq!(store.failures(), 0);
    let told = told.lock().unwrap().clone();
    let [bad, good] = &told[..] else {
        panic!("once each: {told:?}");
    };
    assert!(
        bad.contains("cannot be written") && good.contains("written again"),
        "{told:?}"
    );
    drop(store);
    assert_eq!(total(&open(&path, config, NOON)), (1, 5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// The law: wherever the file ends, what was flushed before that byte counts, nothing else
    /// does, and the store goes on from there.
    #[test]
    fn wherever_the_file_ends_what_came_before_counts(
        calls in prop::collection::vec((0..3u8, 0..3u8, 0..1_000u64), 1..6),
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("spend");
        let store = open(&path, config(), NOON);
        let length = || std::fs::metadata(&path).unwrap().len() as usize;
        // The length of the file after each call, and the sums so far.
        let mut states = vec![(length(), (0, 0))];
        for (tenant, key, micro_usd) in calls {
            let call = spent(&format!("t{tenant}"), &format!("k{key}"), "m", NOON, micro_usd);
            store.recorder().record(call);
            store.flush();
            states.push((length(), total(&store)));
        }
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        for end in 0..=whole.len() {
            // A file of its own: to cut one short and write it again waits for the disk.
            let torn = folder.path().join(format!("torn-{end}"));
            std::fs::write(&torn, &whole[..end]).unwrap();
            let known = states.iter().rev().find(|(length, _)| *length <= end);
            let (calls, money) = known.map_or((0, 0), |(_, sums)| *sums);
            let (mut read, mut warnings) = ((0, 0), Vec::new());
            let file = SpendFile::open(&torn, 1 << 20, &mut warnings, |row| {
                read = (read.0 + row.calls, read.1 + row.micro_usd);
            });
            prop_assert!(matches!(file, Ok(Some(_))) && warnings.is_empty(), "{:?}", warnings);
            prop_assert_eq!(read, (calls, money), "of {} bytes", end);
            drop(file);
            if end % 97 == 0 {
                let store = open(&torn, config(), NOON);
                store.recorder().record(spent("t9", "k", "m", NOON, 10_000));
                drop(store);
                let again = total(&open(&torn, config(), NOON));
                prop_assert_eq!(again, (calls + 1, money + 10_000));
            }
        }
    }

    /// A byte that has changed costs its own line at most.
    #[test]
    fn a_changed_byte_costs_its_own_line_at_most(at in 0..10_000usize, to in any::<u8>()) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("spend");
        let store = open(&path, config(), NOON);
        for n in 0..8 {
            store.recorder().record(spent("a", &format!("k{n}"), "m", NOON, 1));
            store.flush();
        }
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let head = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let at = head + at % (bytes.len() - head);
        bytes[at] = to;
        std::fs::write(&path, &bytes).unwrap();
        let (store, _) = SpendStore::open(Some(&path), config(), wall(NOON)).unwrap();
        // Where a line's end has changed, two lines have become one.
        prop_assert!(total(&store).0 >= 6, "{:?}", total(&store));
        prop_assert!(total(&store).0 <= 8);
    }
}
