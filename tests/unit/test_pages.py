"""Pages for users are short, their sentences too, and no link of theirs is dead."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES, WORDS = 120, 20
# Each of these is for users; docs/log/ is the record of what was tried, and may be as long as it must.
FOLDERS = (".", "config", "infra", "demo", "benchmarks/communities", "benchmarks/overlaps", "docs")
PAGES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
PAGES.remove("CHANGELOG.md")
LOG = sorted(path.name for path in (ROOT / "docs/log").glob("*.md"))
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
# What does not end a sentence although a full stop and a blank follow it.
_SHORT = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|Ca|spp|sp|[A-Z])\. ")


@cache
def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def remove_code_blocks(text: str) -> str:
    return re.sub(r"^( *)(```|~~~).*?^ *\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)


def list_sentences(text: str) -> list[str]:
    """Return the sentences of a page: of its paragraphs and the items of its lists.

    Tables, headings, blocks of code, lines of code that are set in, and rows of links ("a · b · c") are left out. What
    is code in a sentence counts as one word, and a link as the words that are shown.
    """
    lines = []
    for line in remove_code_blocks(text).splitlines():
        if re.match(r"#|\||<|\[[^\]]*\]:", line) or (re.match(r" {4}", line) and not (lines and lines[-1].strip())):
            line = ""
        lines.append(re.sub(r"^ *([-*]|\d+\.) +", "\n\n", line))
    sentences = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        if " ·" in paragraph:
            continue
        words = re.sub(r"`[^`]+`", "code", _LINK.sub(r"\1", paragraph).replace("\n", " "))
        words = _SHORT.sub(r"\1 ", words.replace("**", "").replace("*", ""))
        sentences += re.split(r"(?<=[.!?])[)\"']? +(?=[A-Z0-9(\"']|code)", words.strip())
    return [sentence for sentence in sentences if re.search(r"\w", sentence)]


def count_words(sentence: str) -> int:
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def list_anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    anchors: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", remove_code_blocks(text), re.MULTILINE):
        shown = _LINK.sub(r"\1", heading).replace("`", "").replace("*", "")
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = anchors[anchor] = anchors.get(anchor, -1) + 1
        if number:
            anchors[f"{anchor}-{number}"] = 0
    return set(anchors)


def list_links(page: str) -> list[str]:
    """Return where the links of a page lead, those to other sites left out."""
    text = re.sub(r"`[^`\n]+`(?!\])", "", remove_code_blocks(read_page(page)))
    return [target for _, target in _LINK.findall(text) if not re.match(r"[a-z]+:", target)]


def find_target(page: str, target: str) -> Path:
    name = target.partition("#")[0]
    return ((ROOT / page).parent / name).resolve() if name else ROOT / page


def list_dead_links(page: str) -> list[str]:
    """Return the links of a page to files or headings that are not there."""
    dead = []
    for target in list_links(page):
        path, anchor = find_target(page, target), target.partition("#")[2]
        if not path.exists() or (anchor and anchor not in list_anchors(path.read_text(encoding="utf-8"))):
            dead.append(target)
    return dead


def test_list_sentences_leaves_out_what_is_no_sentence():
    text = """\
# A heading. Of two sentences.

One two `three four` [five six](x.md) seven. Eight *et al.* 9.5
nine, **ten.** Eleven?

- Twelve
- Thirteen: fourteen.
  Fifteen.

| a table. | Has none. |
|---|---|

    set_in --code

```text
Neither. Has. This.
```

[a](b.md) ·
[c](d.md)
"""
    sentences = list_sentences(text)
    assert [count_words(sentence) for sentence in sentences] == [6, 6, 1, 1, 2, 1]
    assert sentences[3:] == ["Twelve", "Thirteen: fourteen.", "Fifteen."]


def test_list_anchors_are_those_of_github():
    text = "# The `k: auto`\n\n## What's *it*, really?\n\n```sh\n# none\n```\n\n## Limits\n\n## Limits\n"
    assert list_anchors(text) == {"the-k-auto", "whats-it-really", "limits", "limits-1"}


@pytest.mark.parametrize("page", PAGES)
def test_page_is_short(page):
    assert len(read_page(page).splitlines()) <= LINES


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_a_page_are_short(page):
    sentences = list_sentences(read_page(page))
    mean = sum(map(count_words, sentences)) / len(sentences)
    longest = max(sentences, key=count_words)
    assert mean <= WORDS, f"{mean:.1f} words a sentence; the longest: {longest}"


@pytest.mark.parametrize("page", [*PAGES, *(f"docs/log/{name}" for name in LOG)])
def test_links_of_a_page_lead_somewhere(page):
    assert list_dead_links(page) == []


def test_every_page_can_be_reached_from_the_readme():
    reached, found = set(), ["README.md"]
    while found:
        page = found.pop()
        reached.add(page)
        paths = [find_target(page, target) for target in list_links(page)]
        paths = [path for path in paths if path.suffix == ".md" and path.exists()]
        found += {str(path.relative_to(ROOT)) for path in paths} - reached
    assert set(PAGES) - reached == set()


def test_log_has_dated_entries_and_its_index_names_each():
    entries = [name for name in LOG if name != "README.md"]
    assert entries
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d-[a-z0-9-]+\.md", name) for name in entries)
    linked = re.findall(r"\]\((20[^)]*\.md)\)", read_page("docs/log/README.md"))
    assert sorted(linked) == entries
