"""The official `openai` package, unmodified, against a running server: see served.py.

Run by `./test`, or alone:  tests/clients/served.py target/clients/bin/python tests/clients/openai_python.py
"""

import asyncio
import json
import math
import os
import unittest
import urllib.request
from typing import Annotated, Literal

import openai
import pydantic

SERVER = os.environ["SERVED_URL"]
BASE = SERVER + "/v1"
KEY = os.environ["SERVED_KEY"]
ADMIN_KEY = os.environ["SERVED_ADMIN_KEY"]
EMBEDDER = "all-MiniLM-L6-v2"
QUESTION = [{"role": "user", "content": "How much does the firm contribute to glasses for screen work?"}]
ANSWER = "£85"
# Rests on several quotes.
QUOTED = [{"role": "user", "content": "How many days' holiday do I get on a British contract?"}]
# It stands in a contract that ana of legal may read, and marta may not.
RESTRICTED = [{"role": "user", "content": "¿Qué penalización paga Torrubia si se retrasa en una entrega?"}]
RESTRICTED_ANSWER = "0,4 %"


def client(key: str = KEY) -> openai.OpenAI:
    # Without retries, so that every answer is seen.
    return openai.OpenAI(base_url=BASE, api_key=key, max_retries=0, timeout=300)


class Chat(unittest.TestCase):
    def test_an_answer_with_citations_and_usage(self):
        done = client().chat.completions.create(model="intramuros", messages=QUESTION, temperature=0)
        self.assertEqual(done.object, "chat.completion")
        self.assertEqual(done.model, "intramuros")
        choice, = done.choices
        self.assertEqual((choice.index, choice.finish_reason, choice.message.role), (0, "stop", "assistant"))
        self.assertIn(ANSWER, choice.message.content)
        self.assertIn("[1]", choice.message.content)
        cited = choice.message.model_extra["citations"]
        self.assertTrue(cited and all(one["quote"] and one["document_id"] for one in cited), cited)
        self.assertFalse(choice.message.model_extra["abstained"])
        self.assertGreater(done.usage.prompt_tokens, 0)
        self.assertEqual(done.usage.total_tokens, done.usage.prompt_tokens + done.usage.completion_tokens)

    def test_a_stream_arrives_in_pieces_and_says_the_same(self):
        for model, messages in (("intramuros", QUESTION), ("intramuros-extract", QUOTED)):
            with self.subTest(model):
                whole = client().chat.completions.create(model=model, messages=messages)
                pieces, finishes, usages, ids = [], [], [], set()
                stream = client().chat.completions.create(
                    model=model, messages=messages, stream=True, stream_options={"include_usage": True})
                for chunk in stream:
                    self.assertEqual(chunk.object, "chat.completion.chunk")
                    self.assertFalse(usages, "something came after the usage")
                    ids.add(chunk.id)
                    if chunk.usage:
                        self.assertEqual(chunk.choices, [])
                        usages.append(chunk.usage)
                    for choice in chunk.choices:
                        if choice.delta.content:
                            pieces.append(choice.delta.content)
                        if choice.finish_reason:
                            finishes.append(choice.finish_reason)
                self.assertEqual("".join(pieces), whole.choices[0].message.content)
                # What is written may be a single sentence that holds; the quotes are several.
                self.assertGreater(len(pieces), 1 if messages is QUOTED else 0)
                self.assertEqual(finishes, ["stop"])
                self.assertEqual(len(ids), 1)
                self.assertEqual(usages, [whole.usage])

    def test_a_stream_without_usage_has_none(self):
        stream = client().chat.completions.create(model="intramuros-extract", messages=QUESTION, stream=True)
        chunks = list(stream)
        self.assertGreater(len(chunks), 2)
        self.assertTrue(all(chunk.usage is None and chunk.choices for chunk in chunks))

    def test_the_package_puts_a_stream_together(self):
        with client().chat.completions.stream(model="intramuros-extract", messages=QUESTION) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        self.assertIn(ANSWER, message.content)

    def test_a_stream_may_be_left(self):
        stream = client().chat.completions.create(model="intramuros", messages=QUESTION, stream=True)
        next(iter(stream))
        stream.close()
        done = client().chat.completions.create(model="intramuros-extract", messages=QUESTION)
        self.assertIn(ANSWER, done.choices[0].message.content)

    def test_content_in_parts_and_a_conversation_before_it(self):
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]},
        ]
        done = client().chat.completions.create(model="intramuros-extract", messages=messages)
        self.assertIn(ANSWER, done.choices[0].message.content)

    def test_asynchronously(self):
        async def ask() -> str:
            async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0) as asynchronous:
                stream = await asynchronous.chat.completions.create(
                    model="intramuros-extract", messages=QUESTION, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        self.assertIn(ANSWER, asyncio.run(ask()))

    def test_a_key_answers_from_what_its_owner_may_read(self):
        def ask(key: str):
            return client(key).chat.completions.create(model="intramuros-extract", messages=RESTRICTED).choices[0].message

        self.assertIn(RESTRICTED_ANSWER, ask(KEY).content)
        other = ask(ADMIN_KEY)
        self.assertNotIn(RESTRICTED_ANSWER, other.content)
        for citation in other.model_extra["citations"]:
            path = f"/api/v1/documents/{citation['document_id']}"
            self.assertTrue(citation["uri"].startswith(path.removeprefix("/api/v1")), citation["uri"])
            request = urllib.request.Request(SERVER + path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            with urllib.request.urlopen(request) as response:
                self.assertEqual(response.status, 200)


class Contribution(pydantic.BaseModel):
    amount: Literal["£30", "£85"]
    signed_by: Annotated[str, pydantic.Field(pattern="^Xavier Qu[a-z]{2}$")] | None


# The smallest model is too small to be right. Both amounts stand in the passage; nobody of that name stands in any.
AMOUNTS = ("£30", "£85")
CONTRIBUTION = {"type": "json_schema", "json_schema": {"name": "contribution", "strict": True, "schema": {
    "type": "object", "required": ["amount", "signed_by"], "additionalProperties": False, "properties": {
        "amount": {"enum": AMOUNTS}, "signed_by": {"type": ["string", "null"], "pattern": "^Xavier Qu[a-z]{2}$"}}}}}
NOTHING = [{"role": "user", "content": "Zxqv blorp wuggly frandish?"}]


class Forms(unittest.TestCase):
    def ask(self, response_format, messages=QUESTION, **options):
        return client().chat.completions.create(
            model="intramuros", messages=messages, response_format=response_format, **options).choices[0]

    def assert_told(self, message, path, value):
        """A value rests on a citation that holds it, or it is told that none does."""
        supported = [one for one in message.model_extra["supported"] if one["path"] == path]
        if not supported:
            self.assertIn(path, [one["path"] for one in message.model_extra["unsupported"]], message)
            return
        quote = message.model_extra["citations"][supported[0]["n"] - 1]["quote"]
        self.assertIn(str(value), quote)

    def test_json_by_a_schema(self):
        choice = self.ask(CONTRIBUTION)
        self.assertEqual(choice.finish_reason, "stop")
        value = json.loads(choice.message.content)
        self.assertEqual(list(value), ["amount", "signed_by"])
        self.assertIn(value["amount"], AMOUNTS)
        self.assertIsNone(value["signed_by"])
        self.assertIsNone(choice.message.refusal)
        self.assertEqual([one["path"] for one in choice.message.model_extra["supported"]], ["/amount"])
        self.assert_told(choice.message, "/amount", value["amount"])
        self.assertLessEqual({one["path"] for one in choice.message.model_extra["unsupported"]}, {"/signed_by"})
        self.assertFalse(choice.message.model_extra["abstained"])

    def test_the_package_reads_it_into_a_class(self):
        done = client().chat.completions.parse(model="intramuros", messages=QUESTION, response_format=Contribution)
        parsed = done.choices[0].message.parsed
        self.assertIn(parsed.amount, AMOUNTS)
        self.assertIsNone(parsed.signed_by)

    def test_a_stream_says_the_same(self):
        whole = self.ask(CONTRIBUTION)
        with client().chat.completions.stream(
                model="intramuros", messages=QUESTION, response_format=CONTRIBUTION) as stream:
            choice, = stream.until_done().get_final_completion().choices
        self.assertEqual((choice.message.content, choice.finish_reason), (whole.message.content, "stop"))
        last = [chunk.choices[0] for chunk in client().chat.completions.create(
            model="intramuros", messages=QUESTION, response_format=CONTRIBUTION, stream=True)][-1]
        for told in ("citations", "supported", "unsupported"):
            self.assertEqual(last.delta.model_extra[told], whole.message.model_extra[told])

    def test_a_match_of_a_regular_expression(self):
        message = self.ask({"type": "regex", "regex": r"£\d{1,3}"}, QUESTION).message
        if message.content is None:
            self.assertTrue(message.refusal)
        else:
            self.assertRegex(message.content, r"\A£\d{1,3}\Z")
            self.assert_told(message, "", message.content)

    def test_any_json_object(self):
        choice = self.ask({"type": "json_object"}, max_tokens=60)
        if choice.message.content is None:
            self.assertTrue(choice.message.refusal)
        else:
            self.assertIsInstance(json.loads(choice.message.content), dict)

    def test_no_answer_is_a_refusal(self):
        for stream in (False, True):
            with self.subTest(stream=stream):
                if stream:
                    with client().chat.completions.stream(
                            model="intramuros", messages=NOTHING, response_format=Contribution) as chunks:
                        choice, = chunks.until_done().get_final_completion().choices
                else:
                    choice = self.ask(CONTRIBUTION, NOTHING)
                    self.assertIsNone(choice.message.content)
                self.assertEqual(choice.finish_reason, "stop")
                self.assertIn("not in the documents", choice.message.refusal)
                self.assertFalse(choice.message.content)
        self.assertTrue(self.ask(CONTRIBUTION, NOTHING).message.model_extra["abstained"])

    def test_what_is_not_whole_says_so(self):
        choice = self.ask(CONTRIBUTION, max_tokens=2)
        self.assertEqual((choice.finish_reason, choice.message.content), ("length", None))
        self.assertIn("2 tokens", choice.message.refusal)
        with self.assertRaises(openai.LengthFinishReasonError):
            client().chat.completions.parse(
                model="intramuros", messages=QUESTION, response_format=Contribution, max_tokens=2)

    def test_forms_that_cannot_be_followed_are_refused_with_their_place(self):
        def by(schema):
            return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

        for response_format, part in (
            ({"type": "grammar"}, "grammar"),
            ({"type": "json_schema"}, "json_schema"),
            (by({"properties": {"a": {"format": "phone"}}}), "#/properties/a/format"),
            (by({"not": {}}), "#/not"),
            ({"type": "regex", "regex": "a(b"}, "unclosed group"),
        ):
            for stream in (False, True):
                with self.subTest(response_format, stream=stream):
                    with self.assertRaises(openai.BadRequestError) as raised:
                        self.ask(response_format, stream=stream)
                    self.assertIn(part, raised.exception.message)
        with self.assertRaises(openai.BadRequestError) as raised:
            client().chat.completions.create(
                model="intramuros-extract", messages=QUESTION, response_format=CONTRIBUTION)
        self.assertIn("quotes", raised.exception.message)


class Models(unittest.TestCase):
    def test_they_are_listed_and_each_can_be_had(self):
        listed = client().models.list().data
        self.assertLessEqual({"intramuros", "intramuros-extract", EMBEDDER}, {model.id for model in listed})
        for model in listed:
            self.assertEqual(client().models.retrieve(model.id), model)


class Embeddings(unittest.TestCase):
    def embed(self, texts, **options):
        made = client().embeddings.create(model=EMBEDDER, input=texts, **options)
        self.assertEqual([one.index for one in made.data], list(range(len(made.data))))
        self.assertGreater(made.usage.total_tokens, 0)
        return [one.embedding for one in made.data]

    def assert_same(self, left, right, within):
        self.assertEqual(len(left), len(right))
        self.assertLess(max(abs(a - b) for a, b in zip(left, right)), within)

    def test_as_numbers_and_as_base64(self):
        # The package asks for base64 by default and decodes it itself.
        (by_default,), (numbers,) = self.embed("water meter"), self.embed("water meter", encoding_format="float")
        self.assertEqual(len(numbers), 384)
        self.assertAlmostEqual(math.sqrt(sum(value * value for value in numbers)), 1, places=3)
        self.assert_same(by_default, numbers, 1e-6)

    def test_one_and_several(self):
        texts = ["water meter", "contador de agua", "annual leave"]
        together = self.embed(texts)
        for text, vector in zip(texts, together):
            self.assert_same(vector, self.embed(text)[0], 1e-4)
        self.assertNotEqual(together[0], together[2])


class Errors(unittest.TestCase):
    def refused(self, kind, status, call):
        with self.assertRaises(kind) as raised:
            call()
        self.assertEqual(raised.exception.status_code, status)
        self.assertTrue(raised.exception.request_id)
        self.assertTrue(raised.exception.code)
        return raised.exception

    def test_a_wrong_key(self):
        for key in ("im_" + "x" * 43, "sk-something"):
            wrong = client(key)
            self.refused(openai.AuthenticationError, 401, wrong.models.list)
            self.refused(openai.AuthenticationError, 401,
                         lambda: wrong.chat.completions.create(model="intramuros", messages=QUESTION))
            self.refused(openai.AuthenticationError, 401,
                         lambda: wrong.embeddings.create(model=EMBEDDER, input="x"))

    def test_an_unknown_model(self):
        self.refused(openai.NotFoundError, 404, lambda: client().models.retrieve("gpt-9"))
        self.refused(openai.NotFoundError, 404,
                     lambda: client().chat.completions.create(model="gpt-9", messages=QUESTION))
        self.refused(openai.NotFoundError, 404, lambda: client().embeddings.create(model="gpt-9", input="x"))

    def test_bad_input(self):
        def chat(messages, **options):
            return lambda: client().chat.completions.create(model="intramuros", messages=messages, **options)

        def embed(texts, **options):
            return lambda: client().embeddings.create(model=EMBEDDER, input=texts, **options)

        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
        for call in (
            chat([]), chat([{"role": "user", "content": ""}]), chat([{"role": "user", "content": "x" * 5000}]),
            chat(image), chat(QUESTION, n=2), chat(QUESTION, stream=True, n=2), chat("not a list"),
            embed(""), embed([]), embed(["x", " "]), embed("word " * 2000), embed("x", dimensions=7),
        ):
            self.refused(openai.BadRequestError, 400, call)


if __name__ == "__main__":
    unittest.main(verbosity=2)
