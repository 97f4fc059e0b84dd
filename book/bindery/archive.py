"""The website as a zip, to read without a network."""

import zipfile

LEFT_OUT = {"downloads", ".buildinfo", ".doctrees"}


def bind(site, folder, name):
    """All files of the website but its downloads, in one folder of a zip; the file."""
    path = folder / "book.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(site.rglob("*")):
            inside = file.relative_to(site)
            if file.is_file() and inside.parts[0] not in LEFT_OUT:
                archive.write(file, f"{name}/{inside.as_posix()}")
    return path
