"""HTML -> text in it that no browser shows, as far as the page itself says so."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tasks.corpus.instructions import find_instruction

MOST = 20
"""Passages that are returned; one is enough to ask why it is there."""
_LONGEST = 2_000

_NOT_TEXT = re.compile(r"script|style|noscript|template|head|svg|iframe|title|option|datalist")
_STYLE_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SIMPLE = re.compile(r"[.#][\w-]+")
_HIDES = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|(?<![\w-])opacity:0*\.?0*(?:;|$)"
    r"|font-size:(?:0|[01](?:\.\d+)?(?:px|pt|%))|text-indent:-\d{3,}|(?:left|top):-\d{3,}"
    r"|clip:rect\(0|clip-path:inset\((?:50|100)%|(?<![\w-])(?:max-)?(?:height|width):0(?:px)?(?:;|$)"
    r"|(?<![\w-])color:transparent"
)
# White on a page that says nothing of its background: as browsers show it, white on white.
_WHITE = re.compile(r"(?<![\w-])color:(?:#fff(?:fff)?(?![0-9a-f])|white|rgba?\(255,255,255)")


def hidden_passages(tree: LexborHTMLParser) -> tuple[str, ...]:
    """Texts of elements that their style or an attribute hides, in order.

    Comments count only where they address a model. Styles count where they stand in the element,
    or in a `<style>` of the page with a plain class or id as the selector; linked style sheets and
    scripts are never loaded.
    """
    rules = _hiding_selectors(tree)
    found: list[str] = []
    stack: list[LexborNode] = [tree.body] if tree.body is not None else []
    while stack and len(found) < MOST:
        node = stack.pop()
        tag = node.tag or ""
        if tag == "-comment":
            # Most are licences and notes, and none is part of the text.
            if find_instruction(comment := node.comment_content or ""):
                _keep(found, comment)
            continue
        if tag.startswith("-") and tag != "-undef":
            continue
        if _NOT_TEXT.fullmatch(tag):
            continue
        if _is_hidden(node, rules):
            _keep(found, node.text(deep=True, separator=" "))
            continue
        children: list[LexborNode] = []
        child = node.child
        while child is not None:
            children.append(child)
            child = child.next
        stack.extend(reversed(children))
    return tuple(found)


def _keep(found: list[str], text: str) -> None:
    if text := " ".join(text.split()):
        found.append(text[:_LONGEST])


def _is_hidden(node: LexborNode, rules: frozenset[str]) -> bool:
    attributes = node.attributes
    if not attributes:
        return False
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    style = _plain(attributes.get("style") or "")
    if _HIDES.search(style) or (_WHITE.search(style) and "background" not in style):
        return True
    names = {f".{name}" for name in (attributes.get("class") or "").split()}
    names.add(f"#{attributes.get('id') or ''}")
    return not rules.isdisjoint(names)


def _hiding_selectors(tree: LexborHTMLParser) -> frozenset[str]:
    found = set()
    for sheet in tree.css("style"):
        for selectors, style in _STYLE_RULE.findall(sheet.text() or ""):
            if _HIDES.search(_plain(style)):
                found |= {name.strip() for name in selectors.split(",")}
    return frozenset(name for name in found if _SIMPLE.fullmatch(name))


def _plain(style: str) -> str:
    return re.sub(r"\s+", "", style.lower())
