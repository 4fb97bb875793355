"""The `openai` package, unchanged, against `fairkey mock`: plain, streamed, tools, errors, models.

Takes the path of the binary; starts the mock on a free port of the loopback, and ends it.
"""

import contextlib
import pathlib
import subprocess
import sys

import openai

REFUSING = pathlib.Path(__file__).with_name("refusing.toml")


def main(binary):
    with mock(binary) as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="sk-or-v1-any", max_retries=0)
        passed = [check(name, test, client) for name, test in TESTS.items()]
    with mock(binary, "--scenario", str(REFUSING)) as base_url:

        def of(key):
            return openai.OpenAI(base_url=base_url, api_key=f"sk-or-v1-{key}", max_retries=0)

        passed += [check(name, test, of) for name, test in REFUSALS.items()]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


@contextlib.contextmanager
def mock(binary, *arguments):
    process = subprocess.Popen(
        [binary, "mock", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://"), line
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait(timeout=30)


def check(name, test, client):
    try:
        test(client)
    except Exception as error:  # every failure is one line of the report
        print(f"FAILED {name}: {type(error).__name__}: {error}")
        return False
    print(f"ok     {name}")
    return True


MESSAGES = [{"role": "user", "content": "What is a lease?"}]
MODEL = "openai/gpt-4o-mini"


def plain(client):
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=20)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.id.startswith("gen-")


def streamed(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=20, stream=True
    )
    text, finish, usage = "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text and finish in ("stop", "length") and usage.completion_tokens > 0


def a_tool_is_called(client):
    tool = {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks a word up",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
        },
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "look_up"


def an_unknown_model_is_a_bad_request(client):
    try:
        client.chat.completions.create(model="nothing", messages=MESSAGES)
    except (openai.BadRequestError, openai.NotFoundError) as error:
        assert "nothing" in str(error), error
    else:
        raise AssertionError("an unknown model was answered")


def no_key_is_an_authentication_error(client):
    anonymous = client.with_options(api_key="", default_headers={"Authorization": ""})
    try:
        anonymous.chat.completions.create(model=MODEL, messages=MESSAGES)
    except openai.AuthenticationError:
        pass
    else:
        raise AssertionError("a call without a key was answered")


def models_are_listed(client):
    assert any(model.id == MODEL for model in client.models.list())


TESTS = {
    "a plain answer is whole": plain,
    "a streamed answer is whole": streamed,
    "a tool is called": a_tool_is_called,
    "an unknown model is a bad request": an_unknown_model_is_a_bad_request,
    "no key is an authentication error": no_key_is_an_authentication_error,
    "models are listed": models_are_listed,
}

def refused(error_class, key):
    def test(of):
        try:
            of(key).chat.completions.create(model=MODEL, messages=MESSAGES)
        except error_class:
            pass
        else:
            raise AssertionError(f"the key {key} was answered")

    return test


def a_broken_stream_is_an_error(of):
    stream = of("broken").chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    chunks = 0
    try:
        for chunk in stream:
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)
    except Exception:
        assert chunks <= 2, chunks
    else:
        raise AssertionError("a stream that was reset ended well")


def others_are_served(of):
    plain(of("well"))


REFUSALS = {
    "a revoked key is an authentication error": refused(openai.AuthenticationError, "revoked"),
    "an empty account is a 402": refused(openai.APIStatusError, "poor"),
    "a full provider is a rate limit": refused(openai.RateLimitError, "throttled"),
    "a broken stream is an error": a_broken_stream_is_an_error,
    "a key that is well is served": others_are_served,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
