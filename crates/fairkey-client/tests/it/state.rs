//! What a client remembers over a restart.

use std::path::PathBuf;
use std::sync::Arc;

use fairkey_client::Client;
use fairkey_core::Key;

use super::scripted::{NO_CREDIT, REVOKED, Reply, Scripted, builder, prompt};

/// A folder of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fairkey-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("fairkey.state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Key `a` is revoked, the account of `b` has no money, `c` is well.
fn transport() -> Arc<Scripted> {
    Scripted::new(|seen| match seen.key.as_str() {
        "sk-a" => Reply::status(401, REVOKED),
        "sk-b" => Reply::status(402, NO_CREDIT),
        _ => Reply::good("hi"),
    })
}

fn client(transport: &Arc<Scripted>, folder: &Folder, secret_of_a: &str) -> Client {
    builder(0, transport)
        .keys([
            Key::new("a", secret_of_a),
            Key::new("b", "sk-b").account("acme"),
            Key::new("c", "sk-c"),
        ])
        .state_file(folder.file())
        .build()
        .unwrap()
}

async fn calls(client: &Client, n: usize) {
    for n in 0..n {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_out_is_out_after_a_restart_and_a_new_secret_inherits_nothing() {
    let folder = Folder::new("restart");
    let first = transport();
    let before = client(&first, &folder, "sk-a");
    calls(&before, 9).await;
    let standing = before.standing();
    drop(before);
    let text = std::fs::read_to_string(folder.file()).unwrap();
    assert!(!text.contains("sk-"), "{text}");

    let second = transport();
    let after = client(&second, &folder, "sk-a");
    assert_eq!(after.standing().warnings, [""; 0]);
    for (old, new) in standing.keys.iter().zip(&after.standing().keys) {
        let reason = |key: &fairkey_client::KeyStanding| {
            key.out.first().map(|out| (out.cause, out.proof, out.since))
        };
        assert_eq!(reason(old), reason(new), "{old} / {new}");
    }
    calls(&after, 9).await;
    assert!(
        second.keys().iter().all(|key| key == "sk-c"),
        "{:?}",
        second.keys()
    );
    drop(after);

    let third = transport();
    let replaced = client(&third, &folder, "sk-a2");
    calls(&replaced, 9).await;
    assert!(third.keys().iter().any(|key| key == "sk-a2"));
}

#[tokio::test(start_paused = true)]
async fn a_second_process_says_so_and_keeps_its_own() {
    let folder = Folder::new("second");
    let transport = transport();
    let first = client(&transport, &folder, "sk-a");
    calls(&first, 9).await;
    first.save_state().unwrap();
    let text = std::fs::read(folder.file()).unwrap();
    let second = client(&transport, &folder, "sk-a");
    let warnings = second.standing().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("another process"),
        "{warnings:?}"
    );
    assert!(second.clear("a") && second.clear("b"));
    second.save_state().unwrap();
    drop(second);
    assert_eq!(std::fs::read(folder.file()).unwrap(), text);
    drop(first);
    assert_eq!(
        client(&transport, &folder, "sk-a").standing().warnings,
        [""; 0]
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_state_is_told_of_and_replaced() {
    let folder = Folder::new("corrupt");
    std::fs::write(folder.file(), "{\"version\":1,\"keys\":[{").unwrap();
    let transport = transport();
    let client = client(&transport, &folder, "sk-a");
    let warnings = client.standing().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("no JSON"),
        "{warnings:?}"
    );
    calls(&client, 9).await;
    drop(client);
    let text = std::fs::read_to_string(folder.file()).unwrap();
    assert!(text.contains("key_invalid"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_leftover_of_a_killed_writer_harms_nobody() {
    let folder = Folder::new("killed");
    let transport = transport();
    let first = client(&transport, &folder, "sk-a");
    calls(&first, 9).await;
    drop(first);
    let whole = std::fs::read(folder.file()).unwrap();
    // Killed while it wrote: the new file is torn, the old one is whole.
    let torn = folder.0.join("fairkey.state.new");
    std::fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let second = client(&transport, &folder, "sk-a");
    assert_eq!(second.standing().warnings, [""; 0]);
    assert!(!second.standing().keys[0].is_in());
    second.save_state().unwrap();
    assert!(!torn.exists());
}

#[tokio::test(start_paused = true)]
async fn who_only_reads_leaves_the_lock_to_whoever_starts_then() {
    let folder = Folder::new("reader");
    let transport = transport();
    let reader = builder(0, &transport)
        .key("a", "sk-a")
        .state_file(folder.file())
        .state_read_only()
        .build()
        .unwrap();
    let writer = client(&transport, &folder, "sk-a");
    assert_eq!(writer.standing().warnings, [""; 0]);
    reader.save_state().unwrap();
    drop(reader);
    assert!(!folder.file().exists());
    writer.save_state().unwrap();
    assert!(folder.file().exists());
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_pipe_in_place_of_the_file_is_told_of_and_not_waited_for() {
    let folder = Folder::new("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(folder.file())
        .status();
    assert!(made.unwrap().success());
    let client = client(&transport(), &folder, "sk-a");
    let warnings = client.standing().warnings;
    assert!(
        warnings.iter().any(|text| text.contains("no regular file")),
        "{warnings:?}"
    );
    calls(&client, 1).await;
}
