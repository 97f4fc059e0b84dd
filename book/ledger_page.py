"""The page of the ledger, and links between its rows and the sentences that use them.

In a sentence that cites a source, a number that data/published.csv has from this source
becomes a link to its row (prose.py says which number quotes which row). The row leads
back to each such sentence, and to each code cell that names it. The rows stand where a
page has

    ```{published}
    ```

If chapter 01 shows its claims as data (an output of the type CLAIMS, beside text or
HTML for the page), they are written to claims.json beside the pages, and the page of
the ledger links them.
"""

import json
import re
from bisect import bisect
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import nbformat
import prose
from docutils import nodes
from pybtex.database import parse_file
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from r1.train.ledger import read_ledger
from r1.train.records import DATA

PAGE = "book/published"
LEDGER = DATA / "published.csv"
CLAIMS = "application/vnd.r1.claims+json"
CHAPTER = prose.BOOK / "01_claims.ipynb"
# What holds no number of a sentence, or is a link already.
OPAQUE = (nodes.literal, nodes.reference, addnodes.pending_xref, nodes.raw, nodes.image)
NAMED = re.compile(r"""["']([a-z0-9]+(?:-(?:[a-z0-9]+|\{\w+\}))+)["']""")


class Use(NamedTuple):
    """Where a page uses a row of the ledger: in a sentence, or else in code."""

    row: str
    anchor: str
    code: bool = False


class Piece(NamedTuple):
    """A part of a sentence: a node, where the part begins in it, and its text."""

    node: nodes.Node
    start: int
    text: str


def pieces(node):
    """The parts of a paragraph or of a table's row, blank where nothing is to link."""
    for child in node.children:
        text = child.astext()
        if isinstance(child, nodes.Text):
            yield Piece(child, 0, text)
        elif isinstance(child, nodes.math) and not prose.comes_out(text):
            yield Piece(child, 0, text.replace("{,}", ",").replace("\n", " "))
        elif isinstance(child, (*OPAQUE, nodes.math)):
            yield Piece(child, 0, " " * len(text))
        else:
            yield from pieces(child)
            if isinstance(child, nodes.entry):
                yield Piece(child, 0, " ")


def sentences(block):
    """The sentences of a paragraph, one a line; the row of a table is one sentence."""
    result = [[]]
    for node, _, text in pieces(block):
        if isinstance(block, nodes.row):
            text = text.replace("\n", " ")
        start = 0
        for number, line in enumerate(text.split("\n")):
            if number:
                result.append([])
            result[-1].append(Piece(node, start, line))
            start += len(line) + 1
    return result


def citations(node):
    """The keys of the sources that a node cites."""
    if isinstance(node, addnodes.pending_xref) and node["refdomain"] == "cite":
        return [key.strip() for key in node["reftarget"].split(",")]
    return []


def quotes(sentence):
    """The published numbers of a sentence, each with its node and its place there."""
    begins, text, cited = [], "", {}
    for piece in sentence:
        begins.append(len(text))
        for key in citations(piece.node):
            cited.setdefault(key, len(text))
        text += piece.text
    for quote in prose.quotes(text, cited) if cited else []:
        index = bisect(begins, quote.start) - 1
        node, start, _ = sentence[index]
        yield node, start + quote.start - begins[index], quote.row.id


def link_numbers(doctree):
    """Make links of the published numbers that a page quotes; returns their uses."""
    count, uses, found = Counter(), [], {}
    for block in doctree.findall(lambda n: isinstance(n, nodes.paragraph | nodes.row)):
        if isinstance(block.parent, nodes.entry):
            continue  # its row is read as a whole
        for sentence in sentences(block):
            for node, start, row in quotes(sentence):
                count[row] += 1
                uses.append(Use(row, f"use-{row}-{count[row]}"))
                # By identity: texts are equal where their words are.
                found.setdefault(id(node), (node, []))[1].append((start, uses[-1]))
    for node, places in found.values():
        siblings = node.parent.children
        index = next(i for i, child in enumerate(siblings) if child is node)
        node.parent[index : index + 1] = list(with_links(node, places))
    return uses


def with_links(node, places):
    """A text in parts, in which the numbers at the places are links to their rows."""
    end = 0
    for start, use in places:
        link = nodes.reference(classes=["published"], ids=[use.anchor], internal=True)
        link.attributes |= {"row": use.row, "refuri": ""}  # known when it is written
        if isinstance(node, nodes.math):
            row = read_ledger()[use.row]
            link["reftitle"] = f"{row.number} {row.unit}"  # a formula is no name
            link += node.deepcopy()
            yield link
            return
        yield nodes.Text(node[end:start])
        number = prose.NUMBER.match(node, start)[0]
        link += nodes.Text(number)
        yield link
        end = start + len(number)
    yield nodes.Text(node[end:])


def rows_of(name):
    """The rows that a text in code names; {x} in it stands for anything."""
    form = re.compile(re.sub(r"\{\w+\}", "[a-z0-9-]+", name))
    return [row for row in read_ledger() if form.fullmatch(row)]


def mark_cells(doctree):
    """Put an anchor before each code cell that names rows; returns their uses."""
    uses = []
    for source in list(doctree.findall(nodes.container)):
        if source.get("nb_element") != "cell_code_source":
            continue
        named = [
            row for name in NAMED.findall(source.astext()) for row in rows_of(name)
        ]
        if named:
            anchor, cell = f"use-in-code-{len(uses) + 1}", source.parent
            cell.parent.insert(cell.parent.index(cell), nodes.target(ids=[anchor]))
            uses += [Use(name, anchor, code=True) for name in dict.fromkeys(named)]
    return uses


def titles():
    """The titles of all sources by their keys, without marks of LaTeX."""
    entries = parse_file(str(prose.BOOK / "references.bib")).entries
    return {
        key: re.sub(r"[{}]|\\(?=[\W_])", "", entry.fields["title"])
        for key, entry in entries.items()
    }


def take_claims(notebook):
    """Take the claims as data out of a notebook's outputs; None if it has none."""
    claims = None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            claims = output.get("data", {}).pop(CLAIMS, claims)
    return claims


def read_claims():
    """The claims that chapter 01 shows as data; None if it shows none."""
    return take_claims(nbformat.read(CHAPTER, as_version=4))


class PublishedNumbers(SphinxDirective):
    """All rows of the ledger: a section for each source."""

    def run(self):
        for path in (LEDGER, CHAPTER):
            self.env.note_dependency(str(path))
        rows, title = defaultdict(list), titles()
        for row in read_ledger().values():
            rows[row.source].append(row)
        made = [self.section(s, title[s], rows[s]) for s in sorted(rows, key=title.get)]
        return [*self.link_to_claims(), *made]

    def link_to_claims(self):
        """A sentence that leads to the claims as data, if there are any."""
        if read_claims() is None:
            return []
        address = "../" * self.env.docname.count("/") + "claims.json"
        link = nodes.reference("", "as data", refuri=address, internal=True)
        text = nodes.Text("The thirteen claims of chapter 01 are here ")
        return [nodes.paragraph("", "", text, link, nodes.Text("."))]

    def section(self, source, title, rows):
        """A source: its title, its citation and its rows."""
        section = nodes.section(ids=[f"source-{source}"], names=[title])
        cited, _ = self.state.inline_text(f"{{cite:t}}`{source}`", self.lineno)
        section += [nodes.title("", title), nodes.paragraph("", "", *cited)]
        section += nodes.definition_list("", *map(item, rows), classes=["published"])
        return section


def item(row):
    """A row of the ledger as an item of a list."""
    number = nodes.strong("", row.number)
    term = nodes.term("", "", number, nodes.Text(f" {row.unit}"), ids=[row.id])
    read = nodes.paragraph("", f"{row.place}; {row.sure}")
    used = nodes.paragraph(classes=["used-in"], row=row.id)
    return nodes.definition_list_item(
        "", term, nodes.definition("", nodes.paragraph("", row.what), read, used)
    )


def short_name(env, docname):
    """What a link to a page says: the number of a chapter, or a title."""
    chapter = re.match(r"\d\d(?=_)", docname.split("/")[-1])
    return chapter[0] if chapter else env.titles[docname].astext()


def links_back(app, row, uses):
    """Links from a row to all its uses; `uses` are those of each page."""
    count = Counter()
    for docname in sorted(uses):
        for use in uses[docname]:
            if use.row != row:
                continue
            name = short_name(app.env, docname) + " (code)" * use.code
            count[name] += 1
            again = f", {count[name]}" if count[name] > 1 else ""
            address = app.builder.get_relative_uri(PAGE, docname) + f"#{use.anchor}"
            yield nodes.Text("; " if sum(count.values()) > 1 else "used in ")
            yield nodes.reference("", name + again, refuri=address, internal=True)


def setup(app):
    """Collect the uses as pages are read, and lay the links as they are written."""

    def kept(env):
        if not hasattr(env, "published_uses"):
            env.published_uses = {}
        return env.published_uses

    def source(app, docname, text):
        # Sphinx would warn of a kind of output that it cannot show.
        if CLAIMS in text[0] and app.env.doc2path(docname).endswith(".ipynb"):
            notebook = nbformat.reads(text[0], as_version=4)
            take_claims(notebook)
            text[0] = nbformat.writes(notebook)

    def read(app, doctree):
        docname = app.env.docname
        if any(doctree.findall(addnodes.pending_xref)):
            app.env.note_dependency(str(LEDGER))
        if docname != PAGE:
            kept(app.env)[docname] = link_numbers(doctree) + mark_cells(doctree)

    def purge(app, env, docname):
        kept(env).pop(docname, None)

    def merge(app, env, docnames, other):
        kept(env).update({name: kept(other).get(name, []) for name in docnames})

    def updated(app, env):
        return {PAGE} & env.found_docs  # written anew in every build

    def resolve(app, doctree, docname):
        for link in doctree.findall(nodes.reference):
            if "row" in link:
                page = app.builder.get_relative_uri(docname, PAGE)
                link["refuri"] = f"{page}#{link['row']}"
        if docname == PAGE:
            for used in doctree.findall(nodes.paragraph):
                if "row" in used:
                    used += links_back(app, used["row"], kept(app.env))

    def finished(app, error):
        if error is None and app.builder.format == "html":
            path, claims = Path(app.outdir) / "claims.json", read_claims()
            path.unlink(missing_ok=True)
            if claims is not None:
                text = json.dumps(claims, indent=1, ensure_ascii=False)
                path.write_text(f"{text}\n", encoding="utf-8")

    app.add_directive("published", PublishedNumbers)
    app.connect("source-read", source)
    app.connect("doctree-read", read)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect(
        "env-updated", lambda app, env: [PAGE] if PAGE in env.found_docs else []
    )
    app.connect("doctree-resolved", resolve)
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
