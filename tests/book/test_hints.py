"""Hints on links are whole after a build that writes few pages."""

import pytest
from sphinx.cmd.build import build_main

CONF = """
import sys
sys.path.insert(0, {book!r})
extensions = ["sphinx_tippy", "hints"]
tippy_enable_wikitips = tippy_enable_doitips = False
"""
PAGES = {
    "index": "Top\n===\n\n.. toctree::\n\n   one\n   two\n",
    "one": "One\n===\n\nSee :ref:`there <two>`.\n",
    "two": "Two\n===\n\n.. _two:\n\nThere\n-----\n\nWords of two.\n",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_later_build_forgets_no_hint_and_keeps_none_that_is_gone(tmp_path, request):
    book = request.config.rootpath / "book"
    (tmp_path / "conf.py").write_text(CONF.format(book=str(book)))

    def hints_of_one(**pages):
        for name, text in pages.items():
            (tmp_path / f"{name}.rst").write_text(text)
        assert build_main(["-q", "-W", str(tmp_path), str(tmp_path / "out")]) == 0
        made = (tmp_path / "out/_static/tippy").glob("one.*")
        return max(made, key=lambda path: path.stat().st_mtime_ns).read_text()

    assert "Words of two" in hints_of_one(**PAGES)
    assert "Words of two" in hints_of_one(one=PAGES["one"] + "\nMore.\n")
    (tmp_path / "two.rst").unlink()
    alone = {"index": "Top\n===\n\n.. toctree::\n\n   one\n", "one": "One\n===\n\nx\n"}
    assert "Words of two" not in hints_of_one(**alone)
