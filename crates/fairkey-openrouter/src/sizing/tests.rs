use super::*;

#[track_caller]
fn size(body: &str) -> PromptSize {
    serde_json::from_str::<serde_json::Value>(body).expect("the test's body is JSON");
    measure(body.as_bytes()).unwrap().prompt
}

/// Base64 of so many bytes that is nothing in particular.
fn opaque(bytes: usize) -> String {
    "QUJD".repeat(bytes / 3)
}

#[test]
fn a_chat_is_measured_by_what_is_said_in_it() {
    let said = size(
        r#"{"model":"not counted","messages":[
            {"role":"system","content":"0123456789"},
            {"role":"user","name":"ab","content":[{"type":"text","text":"caf\u00e9 é"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function",
                "function":{"name":"cd","arguments":"{\"a\":1}"}}]},
            {"role":"tool","tool_call_id":"call_1","content":"\ud834\udd1e\n"}],
            "user":"not counted","metadata":{"content":"not counted"}}"#,
    );
    assert_eq!(said.text_bytes, 10 + 2 + 8 + 2 + 7 + 5);
    assert_eq!((said.messages, said.schema_bytes, said.tokens), (4, 0, 0));
    assert!(!said.has_media() && !said.writes_cache);
    assert_eq!(said.overhead_tokens(), 4 * TOKENS_PER_MESSAGE + 3);
}

#[test]
fn tools_count_with_their_names() {
    let tools = size(r#"{"tools":[{"type":"function","function":{"name":"f"}}]}"#);
    let words = ["type", "function", "function", "name", "f"];
    let expected: usize = words.iter().map(|word| word.len() + 2).sum();
    assert_eq!(tools.schema_bytes, expected as u64);
    assert_eq!((tools.messages, tools.text_bytes), (0, 0));
}

#[test]
fn base64_is_never_text() {
    let data = opaque(30_000);
    for (body, kind) in [
        (
            format!(
                r#"{{"messages":[{{"content":[{{"type":"image_url","image_url":
                    {{"url":"data:image/webp;base64,{data}"}}}}]}}]}}"#
            ),
            "image",
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"type":"input_audio","input_audio":
                {{"data":"{data}","format":"mp3"}}}}]}}]}}"#
            ),
            "audio",
        ),
        (
            // Sorted by name, as some writers do it.
            format!(
                r#"{{"messages":[{{"content":[{{"input_audio":{{"data":"{data}",
                "format":"mp3"}},"type":"input_audio"}}]}}]}}"#
            ),
            "audio",
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"type":"image","source":{{"type":"base64",
                "media_type":"image/webp","data":"{data}"}}}}]}}]}}"#
            ),
            "image",
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"source":{{"data":"JVBERi0x{data}",
                "media_type":"application/pdf","type":"base64"}},"type":"document"}}]}}]}}"#
            ),
            "file",
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"type":"file","file":{{"filename":"",
                "file_data":"data:application/pdf;base64,{data}"}}}}]}}]}}"#
            ),
            "file",
        ),
        (
            format!(
                r#"{{"input":[{{"role":"user","content":[{{"type":"input_image",
                "image_url":"data:image\/png;base64,{data}"}}]}}]}}"#
            ),
            "image",
        ),
        (
            format!(
                r#"{{"messages":[{{"content":[{{"type":"video_url","video_url":
                {{"url":"data:video/mp4;base64,{data}"}}}}]}}]}}"#
            ),
            "video",
        ),
        (
            format!(r#"{{"input":["data:image/png;base64,{data}"]}}"#),
            "image",
        ),
        (
            format!(r#"{{"input_audio":{{"data":"{data}","format":"mp3"}}}}"#),
            "audio",
        ),
    ] {
        let size = size(&body);
        assert_eq!(size.text_bytes, 0, "{kind}: {size:?}");
        let media = [
            ("image", size.image),
            ("audio", size.audio),
            ("file", size.file),
            ("video", size.video),
        ];
        for (name, media) in media {
            let expected = u64::from(name == kind);
            assert_eq!(
                (media.count(), media.inline),
                (expected, expected),
                "{kind}: {size:?}"
            );
            let bytes = media.inline_bytes;
            assert!(
                bytes == 0 || (30_000..30_010).contains(&bytes),
                "{kind}: {size:?}"
            );
        }
        let tokens = match kind {
            "image" => IMAGE_TOKENS..=IMAGE_TOKENS,
            "audio" => 120..=120,
            "file" => 469..=469,
            _ => 75..=75,
        };
        assert!(tokens.contains(&size.media_tokens()), "{kind}: {size:?}");
    }
}

#[test]
fn what_somebody_said_is_text_whatever_it_looks_like() {
    let data = opaque(300);
    for body in [
        format!(r#"{{"messages":[{{"content":"data:image/png;base64,{data}"}}]}}"#),
        format!(r#"{{"messages":[{{"content":[{{"type":"text","text":"{data}"}}]}}]}}"#),
        format!(r#"{{"prompt":"{data}"}}"#),
        format!(
            r#"{{"messages":[{{"content":[{{"type":"document","source":{{"type":"text",
            "media_type":"text/plain","data":"{}"}}}}]}}]}}"#,
            "plain words ".repeat(40)
        ),
    ] {
        assert!(size(&body).text_bytes >= 400, "{body}");
    }
}

#[test]
fn reasoning_that_only_its_provider_reads_counts_nothing() {
    let data = opaque(900);
    for body in [
        format!(r#"{{"input":[{{"type":"reasoning","encrypted_content":"{data}"}}]}}"#),
        format!(
            r#"{{"messages":[{{"reasoning_details":[{{"type":"reasoning.encrypted",
            "data":"{data}"}}]}}]}}"#
        ),
        format!(
            r#"{{"messages":[{{"content":[{{"type":"thinking","thinking":"",
            "signature":"{data}"}}]}}]}}"#
        ),
    ] {
        let size = size(&body);
        assert_eq!((size.text_bytes, size.media_tokens()), (0, 0), "{body}");
    }
}

#[test]
fn parts_that_are_elsewhere_count_by_rule() {
    let size = size(
        r#"{"messages":[{"role":"user","content":[
            {"type":"image_url","image_url":{"url":"","detail":"low"}},
            {"type":"image_url","image_url":{"url":"","detail":"high"}},
            {"type":"file","file":{"file_id":"file-1"}},
            {"type":"video_url","video_url":{"url":""}},
            {"type":"input_audio","input_audio":{"url":""}}]}]}"#,
    );
    assert_eq!((size.text_bytes, size.images()), (0, 2));
    let expected =
        IMAGE_TOKENS + LOW_DETAIL_IMAGE_TOKENS + FILE_TOKENS + VIDEO_TOKENS + AUDIO_TOKENS;
    assert_eq!(size.media_tokens(), expected);
}

#[test]
fn wav_has_more_bytes_for_a_second_and_a_text_file_is_text() {
    let wav = format!("UklGRiQAAABXQVZF{}", opaque(32_000 - 12));
    let wav = size(&format!(
        r#"{{"input_audio":{{"data":"{wav}","format":"wav"}}}}"#
    ));
    assert_eq!(wav.media_tokens(), 32, "one second");
    let text = opaque(3_000);
    let text = size(&format!(
        r#"{{"messages":[{{"content":[{{"type":"file","file":{{
            "file_data":"data:text/plain;base64,{text}"}}}}]}}]}}"#
    ));
    assert_eq!((text.text_bytes, text.media_tokens()), (3_000, 0));
}

#[test]
fn lists_of_numbers_are_tokens() {
    assert_eq!(size(r#"{"input":[ 1, 22,333 ]}"#).tokens, 3);
    assert_eq!(size(r#"{"prompt":[[1,2],[3],[]]}"#).tokens, 3);
    assert_eq!(size(r#"{"input":["1,2",{"type":"x","n":[7]}]}"#).tokens, 1);
    assert_eq!(size(r#"{"messages":[1,2,3]}"#).tokens, 0);
}

#[test]
fn every_format_is_understood() {
    let messages = measure(
        br#"{"model":"a/b","max_tokens":9,"system":"ab","messages":[
            {"role":"user","content":"cd"},
            {"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"ef",
                "input":{"path":"gh"}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1",
                "content":"ij","cache_control":{"type":"ephemeral"}}]}]}"#,
    )
    .unwrap();
    assert_eq!(
        (messages.prompt.text_bytes, messages.prompt.messages),
        (10, 4)
    );
    assert!(messages.prompt.writes_cache);
    assert_eq!(messages.peek.completion_limit, Some(9));

    let responses =
        measure(br#"{"instructions":"ab","input":"cd","max_output_tokens":7,"n":3}"#).unwrap();
    assert_eq!((responses.prompt.text_bytes, responses.choices), (4, 3));
    assert_eq!(responses.peek.completion_limit, Some(7));

    let rerank = size(r#"{"query":"ab","documents":["cd",{"text":"ef"}]}"#);
    assert_eq!(rerank.text_bytes, 6);
    let embeddings = size(r#"{"input":["ab","cd"],"dimensions":256}"#);
    assert_eq!((embeddings.text_bytes, embeddings.messages), (4, 0));
}

#[test]
fn numbers_that_are_no_number_of_answers_are_one() {
    for (n, expected) in [("0", 1), ("-1", 1), ("\"x\"", 1), ("4", 4), ("1e9", 128)] {
        let body = format!(r#"{{"n":{n}}}"#);
        assert_eq!(measure(body.as_bytes()).unwrap().choices, expected, "{n}");
    }
}

#[test]
fn what_is_no_object_is_not_measured() {
    for body in [
        "",
        "[]",
        "{\"messages\":[}",
        "{\"messages\":[{}",
        "{\"input\":\"a",
    ] {
        assert!(measure(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn debug_output_shows_no_prompt() {
    let measured = measure(br#"{"model":"a/b","messages":[{"content":"a secret prompt"}]}"#);
    let shown = format!("{measured:?}");
    assert!(
        shown.contains("a/b") && !shown.contains("secret"),
        "{shown}"
    );
}
