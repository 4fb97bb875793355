"""Where the servers are, and how a check is told of."""

import importlib.metadata
import os
import sys

MOCK = os.environ["FAIRKEY_MOCK"]
SERVE = os.environ["FAIRKEY_SERVE"]
REFUSING = os.environ["FAIRKEY_REFUSING"]
CLOSED = os.environ["FAIRKEY_CLOSED"]
BAD_MOCK = os.environ["FAIRKEY_BAD_MOCK"]
BAD_SERVE = os.environ["FAIRKEY_BAD_SERVE"]

CHAT_MODEL = "openai/gpt-4o-mini"
CLAUDE = "anthropic/claude-sonnet-4.5"
EMBEDDER = "openai/text-embedding-3-small"
KEY = "sk-or-v1-any"
TOKEN = "tok-team-a"
PARAMETERS = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
}


class Report:
    def __init__(self, *packages):
        versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
        print("   " + ", ".join(versions))
        self.passed = 0
        self.failed = 0

    def check(self, name, test, *arguments):
        try:
            test(*arguments)
        except Exception as error:  # every failure is one line of the report
            self.failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {str(error)[:500]}")
        else:
            self.passed += 1
            print(f"ok     {name}")

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def refused(error_class, call, says=""):
    """The error with which `call` is refused, which must be of `error_class`."""
    try:
        call()
    except error_class as error:
        assert says in str(error), error
        return error
    raise AssertionError("it was answered")
