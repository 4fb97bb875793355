"""Real clients, unchanged but for base URL and key, against `fairkey mock` and `fairkey serve`.

`run.py BINARY PYTHON [NODE]`: starts the servers on free ports of the loopback, lets every script of
`python/` and `node/` talk to them, and ends them. Without NODE the scripts in `node/` are named as not
run. What a script finds wrong is one line of the report.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
PYTHON = ["openai_sdk.py", "anthropic_sdk.py", "langchain_sdk.py"]
NODE = ["openai.mjs", "anthropic.mjs", "openrouter.mjs", "ai.mjs", "langchain.mjs"]


def main(binary, python, node=None):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())

        def server(*arguments, **extra):
            return stack.enter_context(started(binary, folder, arguments, extra))

        def world(name):
            return str(HERE / "worlds" / name)

        refusing = server("mock", "--listen", "127.0.0.1:0", "--scenario", world("refusing.toml"))
        # Scripts of a world are used up, so each script that runs has worlds of its own.
        def bad_day():
            upstream = server(
                "mock", "--listen", "127.0.0.1:0", "--scenario", world("bad-day.toml")
            )
            gateway = server(
                "serve",
                *("--listen", "127.0.0.1:0", "--config", world("impatient.toml")),
                *("--base-url", upstream + "/api/v1"),
                OPENROUTER_KEY_ACME="sk-or-v1-acme",
            )
            return {"FAIRKEY_BAD_MOCK": upstream, "FAIRKEY_BAD_SERVE": gateway}

        plain = {
            "mock": server("mock", "--listen", "127.0.0.1:0"),
            "serve": server("serve", "--mock", "--listen", "127.0.0.1:0"),
        }
        closed = server(
            "serve",
            *("--listen", "127.0.0.1:0", "--config", world("closed.toml")),
            *("--base-url", plain["mock"] + "/api/v1"),
            OPENROUTER_KEY_ACME="sk-or-v1-acme",
            TEAM_A_TOKEN="tok-team-a",
        )
        failed = []
        scripts = [(python, "python", script) for script in PYTHON]
        scripts += [(node, "node", script) for script in NODE if node]
        for program, folder_of, script in scripts:
            environment = {
                **environ(),
                **bad_day(),
                "FAIRKEY_REFUSING": refusing,
                "FAIRKEY_MOCK": plain["mock"],
                "FAIRKEY_SERVE": plain["serve"],
                "FAIRKEY_CLOSED": closed,
            }
            print(f"-- {folder_of}/{script}", flush=True)
            path = HERE / folder_of / script
            if folder_of == "node":
                # The packages are beside a copy of the script.
                path = pathlib.Path(os.environ["FAIRKEY_NODE"]) / script
            code = subprocess.run([program, str(path)], env=environment, timeout=120).returncode
            if code:
                failed.append(script)
        for script in NODE if not node else []:
            print(f"-- node/{script}: not run, since this machine lacks node or its packages")
    print(f"scripts that failed: {' '.join(failed) or 'none'}")
    return 1 if failed else 0


def environ():
    """The environment, without proxies and keys: everything here is on the loopback."""
    unwanted = ("_PROXY", "_proxy", "_API_KEY", "_BASE_URL")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(unwanted) and not name.startswith("OPENROUTER_")
    } | {"NO_PROXY": "127.0.0.1"}


@contextlib.contextmanager
def started(binary, folder, arguments, extra):
    """A server, from its line that says where it listens until it has ended."""
    process = subprocess.Popen(
        [str(pathlib.Path(binary).resolve()), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env=environ() | extra,
    )
    try:
        line = process.stdout.readline().strip()
        assert line.startswith("listening on http://"), f"{arguments}: {line!r}"
        yield line.removeprefix("listening on ").removesuffix("/api/v1")
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
