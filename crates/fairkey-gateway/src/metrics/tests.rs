use super::*;
use crate::End;
use crate::reply::Reason;
use crate::tenant::Used;

fn call<'a>(tenant: &'a str, model: &'a str) -> CallRecord<'a> {
    CallRecord {
        tenant,
        operation: "chat",
        model: Some(model),
        status: 200,
        total: Duration::from_millis(50),
        first_content: Some(Duration::from_millis(3)),
        used: Some(Used {
            tokens: 107,
            micro_usd: 1_500,
        }),
        ..CallRecord::default()
    }
}

fn text(metrics: &Metrics) -> String {
    let mut text = MetricsText::new();
    metrics.write(&mut text);
    text.finish()
}

#[test]
fn a_request_is_counted_once_in_every_metric() {
    let metrics = Metrics::new(MetricsConfig::default());
    metrics.record(&call("team-a", "a/b"));
    metrics.record(&CallRecord {
        operation: "messages",
        ..call("team-a", "a/b")
    });
    metrics.record(&CallRecord {
        status: 429,
        reason: Some(Reason::OverRate),
        used: None,
        end: Some(End::Left),
        ..call("team-b", "a/b")
    });
    let text = text(&metrics);
    for line in [
        r#"fairkey_requests_total{operation="chat",tenant="team-a",status="2xx"} 1"#,
        r#"fairkey_requests_total{operation="messages",tenant="team-a",status="2xx"} 1"#,
        r#"fairkey_requests_total{operation="chat",tenant="team-b",status="4xx"} 1"#,
        r#"fairkey_spend_usd_total{tenant="team-a",key="",model="a/b"} 0.003"#,
        r#"fairkey_failures_total{reason="over_rate"} 1"#,
        r#"fairkey_cut_answers_total{end="left"} 1"#,
        "fairkey_queue_seconds_count 3",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    let labels = r#"gen_ai_operation_name="chat",gen_ai_provider_name="openrouter",gen_ai_request_model="a/b""#;
    for line in [
        format!("gen_ai_server_request_duration_seconds_count{{{labels}}} 3"),
        format!("gen_ai_server_request_duration_seconds_bucket{{{labels},le=\"0.04\"}} 0"),
        format!("gen_ai_server_request_duration_seconds_bucket{{{labels},le=\"0.08\"}} 3"),
        format!("fairkey_call_tokens_sum{{{labels}}} 214"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
}

/// Names that callers choose make no more series than allowed.
#[test]
fn labels_are_bounded_whatever_callers_send() {
    let config = MetricsConfig {
        max_models: 5,
        max_series: 8,
    };
    let metrics = Metrics::new(config);
    for n in 0..1_000 {
        metrics.record(&call(&format!("t{}", n % 20), &format!("m/{n}")));
    }
    let text = text(&metrics);
    let samples = text
        .lines()
        .filter(|it| it.starts_with("fairkey_requests_total{"));
    let total: f64 = samples
        .clone()
        .map(|it| it.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(total, 1_000.0, "nothing is lost");
    assert!(samples.count() <= 9, "{text}");
    assert!(text.contains(r#"gen_ai_request_model="other""#), "{text}");
    assert!(!text.contains("m/999"));
}

#[test]
fn each_metric_is_told_once_with_each_set_of_labels() {
    let metrics = Metrics::new(MetricsConfig::default());
    for operation in ["chat", "messages", "responses", "completions"] {
        metrics.record(&CallRecord {
            operation,
            ..call("a", "other")
        });
        metrics.record(&CallRecord {
            operation,
            ..call("a", "x\"y\\z")
        });
        metrics.record(&CallRecord {
            operation,
            ..call("a", "line\nbreak")
        });
    }
    let text = text(&metrics);
    let mut seen = std::collections::HashSet::new();
    for line in text.lines() {
        let series = line.rsplit_once(' ').unwrap().0;
        assert!(
            line.starts_with('#') || seen.insert(series),
            "twice: {line}"
        );
    }
    assert!(text.contains(r#"gen_ai_request_model="x\"y\\z""#));
}

#[test]
fn threads_lose_no_count() {
    let metrics = Metrics::new(MetricsConfig::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..1_000 {
                    metrics.record(&call("a", ["m/1", "m/2"][n % 2]));
                }
            });
        }
    });
    let line = r#"fairkey_requests_total{operation="chat",tenant="a",status="2xx"} 4000"#;
    assert!(text(&metrics).contains(line));
}
