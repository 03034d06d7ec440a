"""`index.html` of a mirror, for people: French, then English; one file, no script, nothing fetched from elsewhere.

Made for screen readers, keyboards and old browsers: headings in order, tables with headers, a language on every part.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from clapas.release.documents.words import Language, count, date, either, size
from clapas.release.layout import SIGNATURE, SUMS
from clapas.release.publish.mirror_index import INDEX, Index, Version

VERIFY = "VERIFY.md"
STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: bold; padding: .5rem 0; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid; vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
code, pre { font-family: ui-monospace, monospace; font-size: .875rem; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; border: 1px solid; padding: .75rem; }
summary { cursor: pointer; }
"""


def page(index: Index) -> str:
    """The page of an index; the same index gives the same page."""
    return (
        '<!DOCTYPE html>\n<html lang="fr">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Modèles publiés – Published models</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<nav aria-label="Langue – Language"><a href="#fr">Français</a> · <a href="#en" lang="en">English</a></nav>\n'
        f"<main>\n{_part(index, 'fr')}{_part(index, 'en')}</main>\n</body>\n</html>\n"
    )


def _part(index: Index, language: Language) -> str:
    title = either(language, "Modèles publiés", "Published models")
    for_programs = either(language, "Pour les programmes", "For programs")
    versions = "".join(
        _version(name, number, version, language)
        for name, known in sorted(index.models.items())
        for number, version in reversed(known.items())
    )
    return (
        f'<section lang="{language}" id="{language}">\n<h1>{title}</h1>\n'
        f'<p>{for_programs}{either(language, " : ", ": ")}<a href="{INDEX}">{INDEX}</a></p>\n{versions}</section>\n'
    )


def _version(name: str, number: str, version: Version, language: Language) -> str:
    place = f"{name}/{number}"
    facts = {
        either(language, "Publié le", "Published"): date(version.published, language),
        either(language, "Par", "By"): escape(version.provider),
        either(
            language, "Licence", "Licence"
        ): f'{escape(version.licence)} (<a href="{_url(place, "LICENSE")}">texte</a>)'
        if language == "fr"
        else f'{escape(version.licence)} (<a href="{_url(place, "LICENSE")}">text</a>)',
        either(language, "Fiche", "Card"): f'<a href="{_url(place, "README.md")}">README.md</a>',
        "Questions": _contact(version.questions),
        either(language, "Demander un retrait", "Ask for removal"): _contact(version.takedown),
    }
    listed = "".join(f"<dt>{term}</dt><dd>{fact}</dd>\n" for term, fact in facts.items())
    return (
        f"<article>\n<h2>{escape(version.title)}, version {escape(number)}</h2>\n"
        f"<p>{escape(version.summary.said(language))}</p>\n<dl>\n{listed}</dl>\n"
        f"{_download(place, version, language)}{_files(place, version, language)}</article>\n"
    )


def _download(place: str, version: Version, language: Language) -> str:
    """Commands to paste: interrupted, they go on; at the end every file is checked."""
    title = either(language, "Télécharger et vérifier", "Download and check")
    base = either(language, "l'adresse de cette page, sans index.html", "the address of this page, without index.html")
    or_wget = either(language, "ou, avec wget :", "or, with wget:")
    folder = place.replace("/", "-")
    lines = [
        f"BASE=https://…   # {base}",
        f"mkdir -p {folder} && cd {folder}",
        *(f'curl -fsSO "$BASE/{place}/{name}"' for name in (SUMS, SIGNATURE) if name in version.files),
        "cut -c67- SHA256SUMS | while IFS= read -r f; do",
        f'  curl -fL -C - --retry 5 --create-dirs -o "$f" "$BASE/{place}/$f"',
        f'  # {or_wget} wget -c -P "$(dirname "$f")" "$BASE/{place}/$f"',
        "done",
        "sha256sum -c SHA256SUMS",
    ]
    page = f'<a href="{_url(place, VERIFY)}">{VERIFY}</a>'
    signed = either(language, f"{page} dit comment vérifier aussi la signature.",
                    f"{page} says how to check the signature too.")  # fmt: skip
    return (
        f"<h3>{title}</h3>\n<pre><code>{escape(chr(10).join(lines), quote=False)}</code></pre>\n"
        + f"<p>{signed}</p>\n" * (VERIFY in version.files)
    )


def _files(place: str, version: Version, language: Language) -> str:
    many = count(
        len(version.files), either(language, "fichier", "file"), either(language, "fichiers", "files"), language
    )
    headers = (either(language, "Fichier", "File"), either(language, "Taille", "Size"), "SHA-256")
    head = "".join(f'<th scope="col">{name}</th>' for name in headers)
    rows = "".join(
        f'<tr><td><a href="{_url(place, name)}">{escape(name)}</a></td>'
        f'<td class="number">{size(file.size, language)}</td><td><code>{file.sha256}</code></td></tr>\n'
        for name, file in version.files.items()
    )
    caption = either(language, f"Fichiers de {place}", f"Files of {place}")
    return (
        f"<details>\n<summary>{many}, {size(version.size, language)}</summary>\n<table>\n"
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        "</details>\n"
    )


def _url(place: str, name: str) -> str:
    return escape(quote(f"{place}/{name}"))


def _contact(address: str) -> str:
    """A link to a mailbox or a page; as it stands where it is neither."""
    scheme = "" if address.startswith(("http://", "https://")) else "mailto:" if "@" in address else None
    return escape(address) if scheme is None else f'<a href="{escape(scheme + address)}">{escape(address)}</a>'
