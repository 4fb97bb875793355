//! `fairkey serve` and a collector of OpenTelemetry.
#![cfg(unix)]

use crate::program::Stage;

const KEY: &str = "[[keys]]\nid = \"a\"\nsecret.env = \"OPENROUTER_API_KEY\"\n";

fn stage(otlp: &str) -> Stage {
    let stage = Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-canary-0001");
    stage.write("fairkey.toml", format!("{KEY}{otlp}"));
    stage
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_that_cannot_tell_a_collector_says_so() {
    let said = stage("[otlp]\n").run(["serve", "--listen", "127.0.0.1:0"]);
    said.ends_with(2)
        .says("fairkey.toml, line 4 column 1")
        .says("built without OTLP: build it with `--features otlp`");
}

#[cfg(feature = "otlp")]
mod built {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use fairkey_mock::MockOpenRouter;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls;

    use super::*;
    use crate::program::{Mock, Running};
    use crate::tls::issue;

    /// Takes one message after the other: its path, its `authorization`, and its body as text.
    fn collector() -> (String, mpsc::Receiver<(String, String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tell = tell.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &tell));
            }
        });
        (url, told)
    }

    /// The same behind TLS, with the certificate of a stage.
    fn tls_collector(stage: &Stage) -> (String, mpsc::Receiver<(String, String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let chain = CertificateDer::from_pem_slice(stage.read("cert.pem").as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(stage.read("key.pem").as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let config = Arc::new(config);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tell = tell.clone();
                let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = rustls::StreamOwned::new(tls, stream.unwrap());
                std::thread::spawn(move || serve(stream, &tell));
            }
        });
        (url, told)
    }

    fn serve(stream: impl Read + Write, tell: &mpsc::Sender<(String, String, String)>) {
        let mut lines = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                    length = said.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            lines.read_exact(&mut body).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let token = head
                .lines()
                .find_map(|line| line.strip_prefix("authorization: "));
            let body = String::from_utf8_lossy(&body).into_owned();
            let _ = tell.send((path, token.unwrap_or("").to_owned(), body));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            let _ = lines.get_mut().write_all(answer);
        }
    }

    #[test]
    fn a_collector_is_told_of_requests_and_counts_and_of_no_secret() {
        let mock = Mock::start(MockOpenRouter::open());
        let (url, told) = collector();
        let otlp = format!(
            "[upstream]\nbase_url = \"{}\"\n[otlp]\nendpoint = \"{url}/\"\nservice = \"edge\"\n\
             headers.authorization.env = \"COLLECTOR\"\n",
            mock.url()
        );
        let stage = stage(&otlp).env("COLLECTOR", "canary-0002");
        let serving = Running::start(&mut stage.command(["serve", "--listen", "127.0.0.1:0"]));
        let line = serving.wait_for("listening on http://");
        let address = line.trim().rsplit('/').next().unwrap();
        let body = r#"{"model":"acme/one","messages":[{"role":"user","content":"canary-0003"}]}"#;
        let mut call = TcpStream::connect(address).unwrap();
        let text = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        call.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        call.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // What was not sent is sent at the end.
        serving.signal("TERM");
        let said = serving.end();
        said.ends_with(0);
        let limit = Duration::from_secs(60);
        let mut all = vec![told.recv_timeout(limit).unwrap()];
        all.push(told.recv_timeout(limit).unwrap());
        all.sort();
        let [(metrics, _, counts), (traces, token, spans)] = &all[..] else {
            unreachable!()
        };
        assert_eq!(
            [&**metrics, &**traces],
            ["/base/v1/metrics", "/base/v1/traces"]
        );
        assert_eq!(token, "Bearer canary-0002");
        for text in ["edge", "chat acme/one", "attempt", "gen_ai.request.model"] {
            assert!(spans.contains(text), "no {text:?} in {spans:?}");
        }
        for text in ["edge", "fairkey.requests", "gen_ai.server.request.duration"] {
            assert!(counts.contains(text), "no {text:?} in {counts:?}");
        }
        for text in [spans, counts, &said.stderr] {
            assert!(!text.contains("canary"), "{text:?}");
        }
    }

    #[test]
    fn a_collector_that_is_not_there_is_told_once_and_stops_nobody() {
        let mock = Mock::start(MockOpenRouter::open());
        let otlp = format!(
            "[upstream]\nbase_url = \"{}\"\n[otlp]\nendpoint = \"http://127.0.0.1:1\"\n\
             interval = \"1ms\"\n",
            mock.url()
        );
        let stage = stage(&otlp);
        let serving = Running::start(&mut stage.command(["serve", "--listen", "127.0.0.1:0"]));
        serving.wait_for("listening on http://");
        serving.signal("TERM");
        let said = serving.end();
        said.ends_with(0)
            .says("telemetry is lost: http://127.0.0.1:1/v1/metrics");
    }

    #[test]
    fn a_collector_whose_authority_is_private_is_told_when_that_is_trusted() {
        let mock = Mock::start(MockOpenRouter::open());
        for (ca, is_told) in [("", false), ("ca = \"ca.pem\"\n", true)] {
            let stage = stage("");
            issue(&stage);
            let (url, told) = tls_collector(&stage);
            let config = format!(
                "{KEY}[upstream]\nbase_url = \"{}\"\n[otlp]\nendpoint = \"{url}\"\n{ca}\
                 interval = \"10ms\"\n",
                mock.url()
            );
            stage.write("fairkey.toml", config);
            let serving = Running::start(&mut stage.command(["serve", "--listen", "127.0.0.1:0"]));
            serving.wait_for("listening on http://");
            if is_told {
                let (path, _, counts) = told.recv_timeout(Duration::from_secs(60)).unwrap();
                assert_eq!(path, "/v1/metrics");
                assert!(counts.contains("fairkey.requests"), "{counts:?}");
                let shown = stage.run(["config", "show"]);
                assert!(shown.stdout.contains("ca = \"ca.pem\""), "{}", shown.stdout);
            }
            serving.signal("TERM");
            let said = serving.end();
            said.ends_with(0);
            match is_told {
                true => said.does_not_say("telemetry is lost"),
                false => said.says("telemetry is lost"),
            };
            assert_eq!(told.try_recv().is_ok(), is_told);
        }
    }

    #[test]
    fn what_is_no_collector_is_refused_where_it_stands() {
        for (otlp, line, why) in [
            (
                "[otlp]\nendpoint = \"collector:4318\"\n",
                5,
                "is no collector",
            ),
            (
                "[otlp]\nendpoint = \"ftp://x\"\n",
                5,
                "looks like http://127.0.0.1:4318",
            ),
            ("[otlp]\nsample = 1.5\n", 5, "a share from 0 to 1, not 1.5"),
            ("[otlp]\nheaders.\"a b\" = \"x\"\n", 5, "no header can have"),
            ("[otlp]\ninterval = \"0s\"\n", 5, "at least 1ms"),
            ("[otlp]\nca = \"no.pem\"\n", 5, "no.pem cannot be used"),
            ("[otlp]\nprotocol = \"grpc\"\n", 5, "protocol"),
        ] {
            let said = stage(otlp).run(["config", "check"]);
            said.ends_with(2).says(&format!("line {line}")).says(why);
        }
    }
}
