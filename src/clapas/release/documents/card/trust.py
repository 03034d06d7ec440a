"""How the release is verified, whom to write to, how it is cited."""

from __future__ import annotations

from clapas.release.documents.citation import bibtex
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, code, plain
from clapas.release.documents.verify_md import ALL, BY_KEY, COMPARE
from clapas.release.documents.words import Language, date, either, listed


def trust(facts: Facts, to: Language) -> str:
    """Sums, signature, and everything by Clapas; where the figures come from."""
    evidence = facts.evidence
    title = either(to, "### Vérifier", "### Verify")
    commands = [COMPARE, *[BY_KEY] * bool(facts.key), ALL]
    how = either(
        to,
        "Sommes, signature, puis tout le reste (`pip install 'clapas[verify]'`) ; [VERIFY.md](VERIFY.md) dit "
        "comment s'y fier sans nous croire.",
        "Sums, signature, then all the rest (`pip install 'clapas[verify]'`); [VERIFY.md](VERIFY.md) tells how to "
        "trust them without believing us.",
    )
    whence = either(
        to,
        "Toutes les valeurs de cette fiche viennent du registre de l'entraînement, relevé le "
        f"{date(evidence.time, to)} ([evidence.json](evidence.json)), et des réponses de l'éditeur "
        "([release.yaml](release.yaml)). [release.json](release.json) donne les contrôles passés avant la publication.",
        f"All figures of this card come from the training's ledger, read on {date(evidence.time, to)} "
        "([evidence.json](evidence.json)), and from the provider's answers ([release.yaml](release.yaml)). "
        "[release.json](release.json) has the checks passed before publication.",
    )
    return "\n\n".join([title, how, "```bash\n" + "\n".join(commands) + "\n```", whence, _weights(facts, to)]) + "\n"


def _weights(facts: Facts, to: Language) -> str:
    """Which checkpoint the weights are, and what wrote this."""
    evidence = facts.evidence
    checkpoint, seal = code(evidence.checkpoint), code(evidence.checkpoint_seal)
    return either(
        to,
        f"Poids : point de reprise {checkpoint}, sceau {seal}. Publié avec Clapas {plain(evidence.clapas)}.",
        f"Weights: checkpoint {checkpoint}, seal {seal}. Released with Clapas {plain(evidence.clapas)}.",
    )


def contact(facts: Facts, to: Language) -> str:
    """Addresses, authors, citation, changes."""
    contacts, answers = facts.answers.contacts, facts.answers
    names = [plain(f"{author.given_names} {author.family_names}") for author in answers.authors]
    rows = [
        ("Faire retirer un document", "To have a document removed", address(contacts.takedown)),
        ("Droits d'auteur", "Copyright", address(contacts.rights)),
        ("Questions", "Questions", address(contacts.questions)),
        ("Éditeur", "Provider", f"{plain(answers.provider.name)}, {plain(answers.provider.address)}"),
        ("Auteurs", "Authors", listed(names, to)),
    ]
    lines = [f"- **{either(to, fr, en)}**{either(to, ' :', ':')} {value}" for fr, en, value in rows]
    titles = ("### Contact", "### Citer") if to == "fr" else ("### Contact", "### Citation")
    more = either(
        to,
        "Aussi : [CITATION.cff](CITATION.cff). Versions du modèle : [CHANGELOG.md](CHANGELOG.md).",
        "Also: [CITATION.cff](CITATION.cff). Versions of the model: [CHANGELOG.md](CHANGELOG.md).",
    )
    told = "\n".join(lines)
    return f"{titles[0]}\n\n{told}\n\n{titles[1]}\n\n```bibtex\n{bibtex(facts)}\n```\n\n{more}\n"
