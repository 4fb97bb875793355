"""The `anthropic` package, whose base URL is without `/v1`."""

import anthropic

from report import *

MESSAGES = [{"role": "user", "content": "What is a lease?"}]
TOOL = {"name": "look_up", "description": "Looks a word up", "input_schema": PARAMETERS}
FORCED = {"type": "tool", "name": "look_up"}


def client(origin, key=KEY, retries=0, **options):
    # Either way in which the package sends a key.
    return anthropic.Anthropic(
        base_url=f"{origin}/api", api_key=key, max_retries=retries, **options
    )


def ask(it, model=CLAUDE, **more):
    return it.messages.create(**({"model": model, "max_tokens": 30, "messages": MESSAGES} | more))


def plain(it):
    answer = ask(it)
    assert answer.type == "message" and answer.role == "assistant"
    assert answer.content[0].text and answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


def streamed(it):
    with it.messages.stream(model=CLAUDE, max_tokens=30, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert text and text == answer.content[0].text
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer.stop_reason in ("end_turn", "max_tokens")


def events_come_in_order(it):
    kinds = [event.type for event in ask(it, stream=True)]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert "content_block_delta" in kinds and "message_delta" in kinds


def a_tool_is_called_and_its_result_answered(it):
    answer = ask(it, tools=[TOOL], tool_choice=FORCED)
    call = next(block for block in answer.content if block.type == "tool_use")
    assert call.name == "look_up" and call.id and answer.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "a contract"}
    said = [block.model_dump(exclude_none=True) for block in answer.content]
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": said},
        {"role": "user", "content": [result]},
    ]
    answer = ask(it, messages=messages, tools=[TOOL])
    assert answer.content[0].text


def a_tool_call_is_streamed(it):
    with it.messages.stream(
        model=CLAUDE, max_tokens=200, messages=MESSAGES, tools=[TOOL], tool_choice=FORCED
    ) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_message()
    assert "input_json" in kinds, kinds
    call = next(block for block in answer.content if block.type == "tool_use")
    assert call.name == "look_up" and isinstance(call.input, dict)


def as_a_coding_tool_asks(it):
    """System text in parts with marks for the cache, betas, thinking, metadata."""
    answer = it.beta.messages.create(
        model=CLAUDE,
        max_tokens=2_000,
        betas=["interleaved-thinking-2025-05-14", "fine-grained-tool-streaming-2025-05-14"],
        system=[
            {"type": "text", "text": "You are a coding tool."},
            {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral"}},
        ],
        thinking={"type": "enabled", "budget_tokens": 1_024},
        metadata={"user_id": "user_1_session_2"},
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
                ],
            }
        ],
        tools=[TOOL | {"cache_control": {"type": "ephemeral"}}],
    )
    assert any(block.type == "text" and block.text for block in answer.content)


def what_openrouter_lacks_is_not_found(it):
    error = refused(
        anthropic.NotFoundError,
        lambda: it.messages.count_tokens(model=CLAUDE, messages=MESSAGES),
    )
    assert error.body["type"] == "error", error.body
    assert error.body["error"]["type"] == "not_found_error", error.body


def an_unknown_model_is_told_of(it):
    error = refused(
        (anthropic.BadRequestError, anthropic.NotFoundError), lambda: ask(it, "nothing"), "nothing"
    )
    assert error.body["type"] == "error", error.body


def a_malformed_request_is_a_bad_request(it):
    error = refused(anthropic.BadRequestError, lambda: ask(it, messages="not a list"))
    assert error.body["error"]["type"] == "invalid_request_error", error.body


class Counted:
    """A client that tries again by itself, and what it has sent."""

    def __init__(self, origin):
        self.sent = []
        self.client = client(origin, retries=2)
        send = self.client._client.send

        def counted(request, **options):
            answer = send(request, **options)
            self.sent.append((answer.status_code, answer.headers))
            return answer

        self.client._client.send = counted


def waits_as_told(origin):
    it = Counted(origin)
    assert ask(it.client, "test/full-once").content[0].text
    assert [status for status, _ in it.sent] == [429, 200], it.sent


def tries_no_more_than_it_is_told(origin):
    it = Counted(origin)
    refused(anthropic.APIStatusError, lambda: ask(it.client, "test/down"))
    assert len(it.sent) == 1, it.sent


def a_broken_stream_is_an_error(it):
    words = 0

    def read():
        nonlocal words
        for event in ask(it, "test/breaks", stream=True):
            words += event.type == "content_block_delta"

    error = refused(Exception, read)
    assert isinstance(error, anthropic.APIError), repr(error)
    assert 0 < words <= 2, words


report = Report("anthropic")
for server, origin in {"mock": MOCK, "serve": SERVE}.items():
    for name, test in {
        "a plain answer is whole": plain,
        "a streamed answer is whole": streamed,
        "events come in order": events_come_in_order,
        "a tool is called, and its result answered": a_tool_is_called_and_its_result_answered,
        "a tool call is streamed": a_tool_call_is_streamed,
        "a coding tool's requests are answered": as_a_coding_tool_asks,
        "an unknown model is told of": an_unknown_model_is_told_of,
        "a malformed request is a bad request": a_malformed_request_is_a_bad_request,
    }.items():
        report.check(f"{server}: {name}", test, client(origin))
bearer = anthropic.Anthropic(base_url=f"{SERVE}/api", auth_token="any", max_retries=0)
report.check("serve: a token in place of a key", plain, bearer)
report.check(
    "serve: what OpenRouter lacks is not found",
    what_openrouter_lacks_is_not_found,
    client(SERVE),
)
report.check(
    "mock: a revoked key is an authentication error",
    refused,
    anthropic.AuthenticationError,
    lambda: ask(client(REFUSING, "sk-or-v1-revoked")),
)
report.check("serve: a broken stream is an error", a_broken_stream_is_an_error, client(BAD_SERVE))
report.check("serve: a refusal with a time is waited for", waits_as_told, BAD_SERVE)
report.check("serve: what was tried is not tried again", tries_no_more_than_it_is_told, BAD_SERVE)
report.check("serve: a token opens", plain, client(CLOSED, TOKEN))
report.check(
    "serve: a wrong token is an authentication error",
    refused,
    anthropic.AuthenticationError,
    lambda: ask(client(CLOSED)),
)
report.end()
