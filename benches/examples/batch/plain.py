"""The plain way: asyncio, a semaphore, and the openai package. Prints rows and seconds."""

import asyncio
import json
import sys
import time

import openai


async def main(base_url: str, rows: int, at_a_time: int) -> None:
    client = openai.AsyncOpenAI(base_url=base_url, api_key="sk-or-v1-any", max_retries=2)
    semaphore = asyncio.Semaphore(at_a_time)
    answers = []

    async def one(number: int) -> None:
        async with semaphore:
            answer = await client.chat.completions.create(
                model="openai/gpt-4o-mini",
                messages=[{"role": "user", "content": f"Say {number}"}],
            )
            answers.append(json.dumps({"row": number, "text": answer.choices[0].message.content}))

    # What opens connections is not counted against it.
    await asyncio.gather(*(one(number) for number in range(at_a_time)))
    answers.clear()
    began = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(rows)))
    print(json.dumps({"rows": len(answers), "seconds": time.monotonic() - began}))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
