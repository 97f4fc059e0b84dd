"""The works that the book cites: their labels and their addresses.

A label is the authors in short and the year, with a letter where several works would
share it. The website's text and list take it from here, and so do the plain notebooks
and the slides. In the list of the website the title of a work is a link to it.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pybtex.database import parse_file
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from pybtex.style.template import field, href, optional, sentence

BOOK = Path(__file__).resolve().parent
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
ADDRESS = re.compile(r"((?:[\w-]+\.)+[a-z]{2,}(?:/[^\s,]+)?)(?:, (.*))?")
NUMBERED = re.compile(r"(issue|pull request) (\d+)(?:, in Chinese)?")
STYLE = "book"


@dataclass(frozen=True)
class Work:
    """A work of the bibliography: its authors in short, its year, its address."""

    authors: str
    year: str
    address: str

    @property
    def label(self):
        """What a citation in brackets says."""
        return f"{self.authors}, {self.year}"


def people(entry):
    """The authors of a work, as a sentence names them."""
    found = [
        " ".join(map(str, (*person.rich_prelast_names, *person.rich_last_names)))
        for person in entry.persons["author"]
    ]
    if len(found) > 2 or found[1:] == ["others"]:
        return f"{found[0]} et al."
    return " and ".join(found)


def address_of(entry):
    """Where a work can be read, as far as its entry says it."""
    fields = entry.fields
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    if "url" in fields:
        return fields["url"]
    if "eprint" in fields:
        return f"https://arxiv.org/abs/{fields['eprint']}"
    for name in ("journal", "note"):
        if paper := ARXIV.search(fields.get(name, "")):
            return f"https://arxiv.org/abs/{paper[1]}"
    host = ADDRESS.fullmatch(fields.get("howpublished", "").replace("\\_", "_"))
    if host is None:
        return None
    part = NUMBERED.fullmatch(host[2] or "")
    kinds = {"issue": "issues", "pull request": "pull"}
    return f"https://{host[1]}" + (f"/{kinds[part[1]]}/{part[2]}" if part else "")


def works(path=BOOK / "references.bib", otherwise=None):
    """The works of the bibliography by key, with letters where years are shared."""
    entries = parse_file(str(path)).entries if path.exists() else {}
    groups = defaultdict(list)
    for key, entry in entries.items():
        who = people(entry), entry.fields["year"]
        groups[who].append((entry.fields["title"].strip("{}"), key))
    found = {}
    for (authors, year), group in groups.items():
        for index, (_, key) in enumerate(sorted(group)):
            letter = chr(ord("a") + index) if len(group) > 1 else ""
            address = address_of(entries[key]) or otherwise
            found[key] = Work(authors, year + letter, address)
    return found


# The list of the website


def label(entry):
    """The label of an entry whose year has its letter."""
    return f"{people(entry)}, {entry.fields['year']}"


class Labels(BaseLabelStyle):
    """Labels as in the text."""

    def format_labels(self, sorted_entries):
        return map(label, sorted_entries)


class Sorting(BaseSortingStyle):
    """By the labels, so that letters stand in their order."""

    def sorting_key(self, entry):
        return label(entry).casefold()


class Linked(Style):
    """A list in which the title of each work is a link to it."""

    default_label_style = Labels
    default_sorting_style = Sorting

    def format_title(self, e, which_field, as_sentence=True):
        title = field(which_field, apply_func=lambda text: text.capitalize())
        if "url" in e.fields:
            title = href(field("url", raw=True))[title]
        return sentence[title] if as_sentence else title

    def format_web_refs(self, e):
        parts = self.format_eprint(e), self.format_doi(e)
        return sentence[[optional[part] for part in parts]]


def mark(app):
    """Give each entry that Sphinx has read the letter and the address of its work."""
    found = works()
    for key, entry in app.env.get_domain("cite").bibdata.data.entries.items():
        fields = entry.fields
        fields["year"] = found[key].year
        fields["title"] = fields["title"].replace(r"\$", "$")
        note = fields.get("note", "arXiv")
        if not note.startswith("arXiv"):
            fields["note"] = note[0].upper() + note[1:]
        if found[key].address:
            fields["url"] = found[key].address


def setup(app):
    """Offer the style, and mark the entries when sphinxcontrib-bibtex has read them."""
    register_plugin("pybtex.style.formatting", STYLE, Linked)
    app.connect("builder-inited", mark, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
