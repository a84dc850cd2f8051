"""The prose is plain English: phrases that once made it a dialect stay out of everything that a person reads."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT, files

_PER = r"an? (?:step|item|seed|row|run|stage|term|batch|pixel|side|topic|widget|file|latent)"

# phrase -> what to write instead. A blank in a phrase matches any white space, also a line break. A match of the group `right`
# is an exception.
EVERYWHERE = {
    r"\banew\b": "again",
    r"\bin (?:the|its|their) place of\b": "instead of",
    r"\bin (?:its|their) place\b": "instead",
    r"\bbesides\b": "as well as, apart from, also",
    r"\bas many (?:again|more)\b": "the same number",
    r"\b(?P<right>(?:leaves?|left|leaving|let) (?:\w+ ){0,2}|(?:stands?|runs?|is|are) )?(?!\Aalone\Z)alone\b(?!:)": "only",
    r"\bthat of\b[^.;:|]*\bthat of\b": "name the thing a second time",
    rf"\b(?:\d+|one|two|three|four|five|calls?|ms|(?:milli)?seconds?|operations?|reads?|numbers?|terms?) {_PER}\b": "per",
    r"\btold\b": "given, named, said; told apart: distinguished",
    r"\b(?:go|goes|going|went) on\b": "continue",
    r"\bbut for\b": "except",
    r"\bshall\b": "should, must",
    r"\bfor want of\b": "because there is no",
    r"\bfree of charge\b": "at no extra cost",
    r"(?:\A|[.:;!?|] |\n\n)Of ": "a whole sentence, subject first",
    r"\bTo which\b|\bFor which\b|\bBy which\b": "a whole sentence, subject first",
    r"\bwhatever (?:batch|it)\b": "regardless of",
    r"\b(?P<right>infinitely )?so many\b": "a given number of",
    r"\bnine (?:items )?(?:of|in) ten\b": "90 %",
    r"\bnear to\b": "close to",
    r"\b(?:is|are|be|stays?) theirs\b": "belongs to them",
    r"\bat no call\b": "at no extra call",
    r"\bturns? that round\b": "reverses",
    r"\bhabits?\b": "what it does",
    r"\bwatersheds?\b": "the border between two images",
}
# These are for pages that users read.
FOR_USERS = {r"\b[Tt]he host(?:'s)?\b": "ComfyUI", r"(?P<right>numerical )?\b[Dd]efects?\b": "error"}


def python(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of docstrings and other strings, and of all comments, consecutive ones as one text."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    comments = [";"] * (text.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0] - 1] = token.string.lstrip("# ")
    yield 1, "\n".join(comments)


def javascript(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of comments and strings."""
    for match in re.finditer(r"//.*|/\*[\s\S]*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", text):
        yield text.count("\n", 0, match.start()) + 1, re.sub(r"^\s*(?://|/?\*+/?)\s?|[\"'`]", "", match[0], flags=re.MULTILINE)


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """(1, the page without its code and without quotations)."""
    yield 1, re.sub(r"^```.*?^```$|^>.*$", lambda m: "\n" * m[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def strings(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of a JSON file's strings: words of a locale, notes and titles of a workflow."""
    for match in re.finditer(r'"(?:\\.|[^"\\])*"', text):
        yield text.count("\n", 0, match.start()) + 1, json.loads(match[0])


def prose() -> Iterator[tuple[str, int, str]]:
    """(file, line, text) of everything that a person reads."""
    for file in files(".py", ".js", ".md", ".json", "NOTICE"):
        name = file.relative_to(ROOT).as_posix()
        if (file.suffix == ".json" and not name.startswith(("locales/en/", "example_workflows/"))) or file == Path(__file__):
            continue
        read = {".py": python, ".js": javascript, ".json": strings}.get(file.suffix, markdown)
        for line, text in read(file.read_text(encoding="utf-8")):
            yield name, line, text


def test_no_dialect():
    offences = []
    for name, line, text in prose():
        for_users = name.endswith((".md", ".json")) and not name.startswith(("tests/", "CONTRIBUTING"))
        for pattern, remedy in (EVERYWHERE | FOR_USERS if for_users else EVERYWHERE).items():
            for match in re.finditer(pattern.replace(" ", r"\s+"), text):
                if not match.groupdict().get("right"):
                    where = f"{name}:{line + text.count(chr(10), 0, match.start())}"
                    around = " ".join(text[max(0, match.start() - 30) : match.end() + 30].split())
                    offences.append(f"{where}: {match[0].strip()!r} (write: {remedy}): ... {around} ...")
    assert not offences, "\n" + "\n".join(offences)
