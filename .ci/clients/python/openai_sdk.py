"""The `openai` package."""

import openai

from report import *

MESSAGES = [{"role": "user", "content": "What is a lease?"}]
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Looks a word up", "parameters": PARAMETERS},
}
FORCED = {"type": "function", "function": {"name": "look_up"}}


def client(origin, key=KEY, retries=0, **options):
    return openai.OpenAI(
        base_url=f"{origin}/api/v1", api_key=key, max_retries=retries, **options
    )


def plain(it, model=CHAT_MODEL):
    answer = it.chat.completions.create(model=model, messages=MESSAGES, max_tokens=20)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.id.startswith("gen-")


def streamed(it):
    stream = it.chat.completions.create(
        model=CHAT_MODEL, messages=MESSAGES, max_tokens=20, stream=True
    )
    text, finish, usage = "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text and finish in ("stop", "length") and usage.completion_tokens > 0


def a_tool_is_called_and_its_result_answered(it):
    answer = it.chat.completions.create(
        model=CHAT_MODEL, messages=MESSAGES, tools=[TOOL], tool_choice=FORCED
    )
    message = answer.choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "look_up" and call.id
    assert answer.choices[0].finish_reason in ("tool_calls", "stop")
    result = {"role": "tool", "tool_call_id": call.id, "content": "a contract"}
    answer = it.chat.completions.create(
        model=CHAT_MODEL,
        messages=[*MESSAGES, message.model_dump(exclude_none=True), result],
        tools=[TOOL],
    )
    assert answer.choices[0].message.content


def a_tool_call_is_streamed(it):
    stream = it.chat.completions.stream(
        model=CHAT_MODEL, messages=MESSAGES, tools=[TOOL], tool_choice=FORCED
    )
    with stream as events:
        kinds = {event.type for event in events}
        message = events.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.delta" in kinds, kinds
    assert message.tool_calls[0].function.name == "look_up"
    assert message.tool_calls[0].function.arguments.startswith("{")


def structured(it):
    form = PARAMETERS | {"additionalProperties": False}
    schema = {"name": "entry", "strict": True, "schema": form}
    answer = it.chat.completions.create(
        model=CHAT_MODEL,
        messages=MESSAGES,
        response_format={"type": "json_schema", "json_schema": schema},
    )
    assert answer.choices[0].message.content.startswith("{")


def responses(it):
    answer = it.responses.create(model=CHAT_MODEL, input="What is a lease?")
    assert answer.output_text and answer.status == "completed"
    assert answer.usage.total_tokens > 0


def responses_streamed(it):
    with it.responses.stream(model=CHAT_MODEL, input="What is a lease?") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert "response.output_text.delta" in kinds
    assert answer.output_text


def a_tool_is_called_by_responses(it):
    tool = {"type": "function", "name": "look_up", "parameters": PARAMETERS, "strict": False}
    question = [{"role": "user", "content": "What is a lease?"}]
    answer = it.responses.create(
        model=CHAT_MODEL,
        input=question,
        tools=[tool],
        tool_choice={"type": "function", "name": "look_up"},
    )
    call = next(item for item in answer.output if item.type == "function_call")
    assert call.name == "look_up" and call.call_id
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "a contract"}
    called = call.model_dump(exclude_none=True)
    answer = it.responses.create(
        model=CHAT_MODEL, input=[*question, called, result], tools=[tool]
    )
    assert answer.output_text


def embedded(it):
    # The package asks for base64 by itself, and decodes it.
    answer = it.embeddings.create(model=EMBEDDER, input=["a", "b"])
    assert [item.index for item in answer.data] == [0, 1]
    assert all(isinstance(item.embedding[0], float) for item in answer.data)
    assert answer.usage.prompt_tokens > 0
    listed = it.embeddings.create(model=EMBEDDER, input="a", encoding_format="float")
    assert len(listed.data[0].embedding) == len(answer.data[0].embedding)
    off = max(abs(a - b) for a, b in zip(listed.data[0].embedding, answer.data[0].embedding))
    assert off < 1e-6, off


def models_are_listed(it):
    assert any(model.id == CHAT_MODEL for model in it.models.list())


def an_unknown_model_is_a_bad_request(it):
    def call():
        it.chat.completions.create(model="nothing", messages=MESSAGES)

    refused((openai.BadRequestError, openai.NotFoundError), call, "nothing")


def a_malformed_request_is_a_bad_request(it):
    error = refused(
        openai.BadRequestError,
        lambda: it.chat.completions.create(model=CHAT_MODEL, messages="not a list"),
    )
    assert error.status_code == 400 and error.body


def no_key_is_an_authentication_error(it):
    anonymous = it.with_options(api_key="", default_headers={"Authorization": ""})
    refused(
        openai.AuthenticationError,
        lambda: anonymous.chat.completions.create(model=CHAT_MODEL, messages=MESSAGES),
    )


def an_unknown_path_is_not_found(it):
    error = refused(openai.NotFoundError, lambda: it.fine_tuning.jobs.list())
    assert error.body, error


EVERYWHERE = {
    "a plain answer is whole": plain,
    "a streamed answer is whole": streamed,
    "a tool is called, and its result answered": a_tool_is_called_and_its_result_answered,
    "a tool call is streamed": a_tool_call_is_streamed,
    "an answer has the form of a schema": structured,
    "responses: an answer is whole": responses,
    "responses: a stream is whole": responses_streamed,
    "responses: a tool is called, and its result answered": a_tool_is_called_by_responses,
    "texts are embedded": embedded,
    "models are listed": models_are_listed,
    "an unknown model is a bad request": an_unknown_model_is_a_bad_request,
    "a malformed request is a bad request": a_malformed_request_is_a_bad_request,
    "an unknown path is not found": an_unknown_path_is_not_found,
}


def refused_to(error_class, key):
    return refused(error_class, lambda: plain(client(REFUSING, f"sk-or-v1-{key}")))


def a_broken_stream_is_an_error(it, model=CHAT_MODEL):
    stream = it.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    chunks = 0

    def read():
        nonlocal chunks
        for chunk in stream:
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)

    refused(Exception, read)
    assert 0 < chunks <= 2, chunks


class Counted:
    """A client that tries again by itself, and what it has sent."""

    def __init__(self, origin):
        self.sent = []
        self.client = client(origin, "sk-or-v1-acme", retries=2)
        # Watched from within the package, which is not changed by it.
        send = self.client._client.send

        def counted(request, **options):
            answer = send(request, **options)
            self.sent.append((answer.status_code, answer.headers))
            return answer

        self.client._client.send = counted


def waits_as_told(origin):
    """A refusal with a time: the package comes again then, and is answered."""
    it = Counted(origin)
    plain(it.client, "test/full-once")
    assert [status for status, _ in it.sent] == [429, 200], it.sent
    assert it.sent[0][1]["retry-after"] == "1", it.sent
    return it


def tries_no_more_than_it_is_told(origin):
    it = Counted(origin)
    refused(openai.InternalServerError, lambda: plain(it.client, "test/down"))
    assert it.sent[0][1]["x-should-retry"] == "false"
    assert len(it.sent) == 1, it.sent


def too_long_is_a_bad_request(origin):
    error = refused(openai.BadRequestError, lambda: plain(client(origin), "test/long"), "context")
    assert error.status_code == 400


report = Report("openai")
for server, origin in {"mock": MOCK, "serve": SERVE}.items():
    for name, test in EVERYWHERE.items():
        report.check(f"{server}: {name}", test, client(origin))
report.check(
    "mock: no key is an authentication error", no_key_is_an_authentication_error, client(MOCK)
)
for key, error in {
    "revoked": openai.AuthenticationError,
    "poor": openai.APIStatusError,
    "throttled": openai.RateLimitError,
}.items():
    report.check(f"mock: the key {key} is refused", refused_to, error, key)
report.check(
    "mock: a broken stream is an error",
    a_broken_stream_is_an_error,
    client(REFUSING, "sk-or-v1-broken"),
)
report.check("mock: others are served", plain, client(REFUSING, "sk-or-v1-well"))
report.check(
    "serve: a broken stream is an error",
    a_broken_stream_is_an_error,
    client(BAD_SERVE),
    "test/breaks",
)
report.check("mock: a refusal with a time is waited for", waits_as_told, BAD_MOCK)
report.check("serve: a refusal with a time is waited for", waits_as_told, BAD_SERVE)
report.check("serve: what was tried is not tried again", tries_no_more_than_it_is_told, BAD_SERVE)
for server, origin in {"mock": BAD_MOCK, "serve": BAD_SERVE}.items():
    report.check(f"{server}: too long a prompt is a bad request", too_long_is_a_bad_request, origin)
report.check("serve: a token opens", plain, client(CLOSED, TOKEN))
report.check(
    "serve: a wrong token is an authentication error",
    refused,
    openai.AuthenticationError,
    lambda: plain(client(CLOSED)),
)
report.end()
