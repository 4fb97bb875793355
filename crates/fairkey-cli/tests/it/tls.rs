//! TLS: to callers, and to an upstream with a certificate that the world does not know.
#![cfg(unix)]

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::program::{Running, Stage};

/// Writes a certificate for this machine, its key, and who has signed it.
pub(crate) fn issue(stage: &Stage) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    stage.write("key.pem", leaf_key.serialize_pem());
    stage.write("cert.pem", leaf.pem());
    stage.write("ca.pem", root.pem());
}

const KEY: &str = "[[keys]]\nid = \"a\"\nsecret = { env = \"OF_A\" }\n";

#[test]
fn an_upstream_with_a_private_authority_is_reached_and_certificates_change_under_way() {
    let stage = Stage::new().env("OF_A", "sk-or-v1-secret-of-a");
    issue(&stage);
    stage.write(
        "fairkey.toml",
        "[gateway]\nlisten = \"127.0.0.1:0\"\nwatch = \"20ms\"\n\
         tls = { cert = \"cert.pem\", key = \"key.pem\" }\n",
    );
    // A gateway with a mock in it is an upstream that speaks TLS and HTTP/2.
    let serve = Running::start(&mut stage.command(["serve", "--mock"]));
    let line = serve.wait_for("listening on https://");
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap()
        .to_owned();
    let upstream = format!("[upstream]\nbase_url = \"{url}/api/v1\"\n");
    stage.write("without.toml", format!("{upstream}{KEY}"));
    stage.write("with.toml", format!("{upstream}ca = \"ca.pem\"\n{KEY}"));

    let ask = |config| stage.run(["ask", "Hi", "--config", config]);
    ask("with.toml").ends_with(0);
    ask("without.toml").ends_with(1).says("certificate");
    let models = stage.run(["models", "--config", "with.toml", "--refresh"]);
    models.ends_with(0);
    // The same for those who ask the gateway of another one.
    let args = ["serve", "--config", "with.toml", "--listen", "127.0.0.1:0"];
    let front = Running::start(&mut stage.command(args));
    let line = front.wait_for("listening on http://");
    let front_url = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap()
        .to_owned();
    stage.write(
        "front.toml",
        format!("[upstream]\nbase_url = \"{front_url}/api/v1\"\n{KEY}"),
    );
    ask("front.toml").ends_with(0);
    front.signal("TERM");
    front.end().ends_with(0);

    issue(&stage);
    serve.wait_for("another certificate");
    ask("with.toml").ends_with(0);
    // One that does not fit its key is not taken.
    let (cert, key) = (stage.read("cert.pem"), stage.read("key.pem"));
    issue(&stage);
    serve.wait_for("another certificate");
    stage.write("cert.pem", cert);
    let line = serve.wait_for("is not taken, and the old one stays");
    assert!(
        line.contains("cert.pem") && line.contains("key.pem"),
        "{line}"
    );
    ask("with.toml").ends_with(0);
    assert_ne!(key, stage.read("key.pem"));
    serve.signal("TERM");
    serve.end().ends_with(0);
}

#[test]
fn rows_go_through_a_gateway_whose_authority_is_private() {
    let stage = Stage::new();
    issue(&stage);
    stage.write(
        "fairkey.toml",
        "[gateway]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n",
    );
    let serve = Running::start(&mut stage.command(["serve", "--mock"]));
    let line = serve.wait_for("listening on https://");
    let url = line.trim().strip_prefix("listening on ").unwrap();
    stage.prompts("in.jsonl", 5);
    let run = |url: &str, out: &str, more: &[&str]| {
        let args = ["run", "in.jsonl", "-o", out, "--via", url];
        let args = args.iter().chain(&["--model", "acme/small", "--json"]);
        stage.run(args.chain(more).copied())
    };
    run(url, "a.jsonl", &["--patience", "300ms"])
        .ends_with(3)
        .says("certificate");
    let said = run(url, "b.jsonl", &["--ca", "ca.pem"]);
    said.ends_with(0);
    assert!(said.stdout.contains("\"rows\":{\"answered\":5"));
    for (url, ca, what) in [
        (url, "missing.pem", "No such file"),
        (url, "key.pem", "has no certificate"),
        ("http://127.0.0.1:9", "ca.pem", "has no certificate"),
    ] {
        let said = run(url, "c.jsonl", &["--ca", ca]);
        said.ends_with(2).says(what);
    }
    let said = stage.run(["run", "in.jsonl", "-o", "d.jsonl", "--ca", "ca.pem"]);
    said.ends_with(2).says("--via");
    serve.signal("TERM");
    serve.end().ends_with(0);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_when_they_are_read() {
    let stage = Stage::new().env("OF_A", "sk-or-v1-secret-of-a");
    issue(&stage);
    stage.write("empty.pem", "");
    // PEM, but no certificate within it.
    stage.write(
        "odd.pem",
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    );
    for (file, what) in [
        ("missing.pem", "No such file"),
        ("empty.pem", "has no certificate"),
        ("key.pem", "has no certificate"),
        ("odd.pem", "no usable certificate"),
    ] {
        stage.write("bad.toml", format!("[upstream]\nca = \"{file}\"\n{KEY}"));
        for args in [&["config", "check"][..], &["ask", "Hi"]] {
            let said = stage.run(args.iter().copied().chain(["--config", "bad.toml"]));
            said.ends_with(2)
                .says("bad.toml, line 2 column 6: ")
                .says(file)
                .says(what);
        }
    }
    stage.write("good.toml", format!("[upstream]\nca = \"ca.pem\"\n{KEY}"));
    let said = stage.run(["config", "show", "--config", "good.toml"]);
    said.ends_with(0);
    let is_shown = said
        .stdout
        .lines()
        .any(|line| line.starts_with("ca = \"ca.pem\""));
    assert!(is_shown, "{}", said.stdout);
}
