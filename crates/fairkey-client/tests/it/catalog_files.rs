//! The catalogue in files: what the next process finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Catalog, CatalogConfig, Freshness};
use fairkey_core::ManualClock;
use fairkey_transport::TransportErrorKind;

use crate::scripted::{Reply, Scripted};

/// A folder of this test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fairkey-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(folders) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let all = folders
            .flatten()
            .flat_map(|folder| fs::read_dir(folder.path()).unwrap());
        all.flatten().map(|entry| entry.path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that begins at this second.
fn process(transport: &Arc<Scripted>, folder: &Path, at: u64, freshness: Freshness) -> Catalog {
    let wall = ManualClock::new();
    wall.set_epoch(Duration::from_secs(at));
    let config = CatalogConfig {
        freshness,
        max_lists: 3,
        ..CatalogConfig::default()
    };
    Catalog::builder()
        .transport(Arc::<Scripted>::clone(transport))
        .config(config)
        .folder(folder)
        .wall_clock(wall)
        .build()
        .unwrap()
}

fn counting() -> Arc<Scripted> {
    Scripted::new(|seen| {
        let json = format!(r#"{{"data":[{{"id":"m/{}","later":1.50}}]}}"#, seen.nth);
        Reply::status(200, &json).header("etag", "\"v\"")
    })
}

const BY_AGE: Freshness = Freshness::ByAge;

#[tokio::test(start_paused = true)]
async fn the_next_process_finds_what_was_fetched_and_its_age() {
    let (transport, folder) = (counting(), Folder::new("next"));
    let first = process(&transport, &folder.0, 1_000, BY_AGE);
    let first = first.models().await.unwrap();
    let second = process(&transport, &folder.0, 1_500, BY_AGE);
    let found = second.models().await.unwrap();
    assert_eq!(
        (&*found.value, found.age),
        (&*first.value, Duration::from_secs(500))
    );
    assert!(second.take_warnings().is_empty());
    assert_eq!(transport.seen().len(), 1);
    let third = process(&transport, &folder.0, 1_600, BY_AGE);
    assert_eq!(
        third.models().await.unwrap().data[0].id,
        "m/2",
        "it is too old"
    );
    assert_eq!(transport.seen()[1].headers["if-none-match"], "\"v\"");
}

#[tokio::test(start_paused = true)]
async fn offline_any_age_will_do_and_a_refresh_takes_none() {
    let (transport, folder) = (counting(), Folder::new("offline"));
    process(&transport, &folder.0, 1_000, BY_AGE)
        .models()
        .await
        .unwrap();
    let offline = process(&transport, &folder.0, 999_999, Freshness::Offline);
    let found = offline.models().await.unwrap();
    assert_eq!(
        (found.age.as_secs(), found.stale.is_none()),
        (998_999, true)
    );
    assert!(offline.zdr().await.is_err());
    assert_eq!(transport.seen().len(), 1);
    let refresh = process(&transport, &folder.0, 1_001, Freshness::Refresh);
    for _ in 0..2 {
        assert_eq!(refresh.models().await.unwrap().data[0].id, "m/2");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_corrupt_is_left_out_with_a_warning_and_written_anew() {
    let folder = Folder::new("corrupt");
    let whole = {
        let transport = counting();
        process(&transport, &folder.0, 1_000, BY_AGE)
            .models()
            .await
            .unwrap();
        fs::read_to_string(&folder.files()[0]).unwrap()
    };
    let cut = &whole[..whole.len() / 2];
    for text in [
        "",
        "garbage",
        cut,
        &whole.replace("\"data\"", "\"dada\""),
        &whole.replace("\"fetched\":1000", "\"fetched\":2000"),
    ] {
        fs::write(&folder.files()[0], text).unwrap();
        let transport = counting();
        let catalog = process(&transport, &folder.0, 1_000, BY_AGE);
        assert_eq!(
            catalog.models().await.unwrap().age,
            Duration::ZERO,
            "{text}"
        );
        let warnings = catalog.take_warnings();
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        assert!(warnings[0].contains("is left out"), "{warnings:?}");
        assert_eq!(transport.seen().len(), 1);
        assert_eq!(folder.files().len(), 1, "nothing is left beside it");
        assert_eq!(fs::read_to_string(&folder.files()[0]).unwrap(), whole);
    }
}

#[tokio::test(start_paused = true)]
async fn upstreams_do_not_mix_and_another_version_is_not_read() {
    let (transport, folder) = (counting(), Folder::new("upstreams"));
    process(&transport, &folder.0, 1_000, BY_AGE)
        .models()
        .await
        .unwrap();
    let other = Catalog::builder()
        .transport(Arc::<Scripted>::clone(&transport))
        .base_url("https://eu.openrouter.ai/api/v1")
        .folder(&folder.0)
        .build()
        .unwrap();
    assert_eq!(other.models().await.unwrap().data[0].id, "m/2");
    for file in folder.files() {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("\"version\":1", "\"version\":2")).unwrap();
    }
    let later = process(&transport, &folder.0, 1_000, BY_AGE);
    assert_eq!(later.models().await.unwrap().data[0].id, "m/3");
    assert!(later.take_warnings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_is_warned_about_and_nothing_fails() {
    let (transport, folder) = (counting(), Folder::new("unwritable"));
    fs::write(&folder.0, "a file").unwrap();
    let catalog = process(&transport, &folder.0, 1_000, BY_AGE);
    assert_eq!(catalog.models().await.unwrap().data[0].id, "m/1");
    let warnings = catalog.take_warnings();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("cannot be written")),
        "{warnings:?}"
    );
    fs::remove_file(&folder.0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_number_of_files_is_bounded_and_a_model_that_is_gone_leaves_none() {
    let transport = Scripted::new(|seen| match seen.nth {
        ..=6 => {
            let json = r#"{"data":{"id":"a/b","endpoints":[{"tag":"x"}]}}"#;
            Reply::status(200, json)
        }
        7 => Reply::Error(TransportErrorKind::Connect),
        _ => Reply::status(404, r#"{"error":{"code":404,"message":"not found"}}"#),
    });
    let folder = Folder::new("bounded");
    let catalog = process(&transport, &folder.0, 1_000, BY_AGE);
    for n in 0..6 {
        catalog.endpoints(&format!("a/{n}")).await.unwrap();
        assert!(folder.files().len() <= 3);
    }
    let next = process(&transport, &folder.0, 2_000, BY_AGE);
    let old = next.endpoints("a/5").await.unwrap();
    assert_eq!((old.age.as_secs(), old.stale.is_some()), (1_000, true));
    let before = folder.files().len();
    let next = process(&transport, &folder.0, 2_000, BY_AGE);
    assert!(next.endpoints("a/5").await.is_err());
    assert_eq!(folder.files().len(), before - 1);
}
