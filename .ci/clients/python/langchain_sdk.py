"""`langchain-openai`, as LangChain's users reach other servers of OpenAI's API."""

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from report import *


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word}: a contract"


def chat(origin, model=CHAT_MODEL, **options):
    return ChatOpenAI(
        base_url=f"{origin}/api/v1", api_key=KEY, model=model, max_retries=0, **options
    )


def plain(origin):
    answer = chat(origin).invoke("What is a lease?")
    assert answer.content and answer.usage_metadata["total_tokens"] > 0


def streamed(origin):
    whole = None
    for chunk in chat(origin, stream_usage=True).stream("What is a lease?"):
        whole = chunk if whole is None else whole + chunk
    assert whole.content and whole.usage_metadata["output_tokens"] > 0


def a_tool_is_called_and_its_result_answered(origin):
    question = HumanMessage("What is a lease?")
    answer = chat(origin).bind_tools([look_up], tool_choice="look_up").invoke([question])
    call = answer.tool_calls[0]
    assert call["name"] == "look_up" and call["id"]
    result = ToolMessage(look_up.invoke({"word": "lease"}), tool_call_id=call["id"])
    assert chat(origin).bind_tools([look_up]).invoke([question, answer, result]).content


def a_tool_call_is_streamed(origin):
    whole = None
    for chunk in chat(origin).bind_tools([look_up], tool_choice="look_up").stream("Lease?"):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["name"] == "look_up", whole


def many_at_once(origin):
    answers = chat(origin).batch([f"{n}?" for n in range(8)])
    assert len(answers) == 8 and all(answer.content for answer in answers)


def by_responses(origin):
    answer = chat(origin, use_responses_api=True).invoke("What is a lease?")
    assert answer.text


def embedded(origin):
    # Texts instead of tokens, which only OpenAI's own models take.
    embedder = OpenAIEmbeddings(
        base_url=f"{origin}/api/v1",
        api_key=KEY,
        model=EMBEDDER,
        check_embedding_ctx_length=False,
    )
    vectors = embedder.embed_documents(["a", "b"])
    assert len(vectors) == 2 and len(vectors[0]) == len(embedder.embed_query("a"))


def an_unknown_model_is_a_bad_request(origin):
    refused(
        (openai.BadRequestError, openai.NotFoundError),
        lambda: chat(origin, "nothing").invoke("x"),
        "nothing",
    )


report = Report("langchain-openai", "langchain-core")
for server, origin in {"mock": MOCK, "serve": SERVE}.items():
    for name, test in {
        "a plain answer is whole": plain,
        "a streamed answer is whole": streamed,
        "a tool is called, and its result answered": a_tool_is_called_and_its_result_answered,
        "a tool call is streamed": a_tool_call_is_streamed,
        "many are answered at once": many_at_once,
        "the responses API answers": by_responses,
        "texts are embedded": embedded,
        "an unknown model is a bad request": an_unknown_model_is_a_bad_request,
    }.items():
        report.check(f"{server}: {name}", test, origin)
report.end()
