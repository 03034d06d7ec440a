"""How the release is verified, whom to write to, how it is cited."""

from __future__ import annotations

from clapas.release.documents.citation import bibtex
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, code, plain
from clapas.release.documents.words import Language, date, either, listed


def trust(facts: Facts, to: Language) -> str:
    """Sums, signature, and everything by Clapas; where the evidence lies."""
    title = either(to, "### Vérifier", "### Verify")
    signature = (
        "model_signing verify key . --signature model.sig --public_key model.pub --ignore_unsigned_files\n"
        if facts.key
        else ""
    )
    by_key = (
        either(
            to, f" La clé publique a pour empreinte {code(facts.key)}.", f" The key's fingerprint is {code(facts.key)}."
        )
        if facts.key
        else ""
    )
    evidence = facts.evidence
    what = either(
        to,
        f"{code('VERIFY.md')} dit comment contrôler la signature sans rien croire de ce dossier.{by_key} Toutes les "
        f"valeurs de cette fiche viennent de {code('evidence.json')}, relevé le {date(evidence.time, to)} au registre de "
        f"l'entraînement, et des réponses de l'éditeur, {code('release.yaml')} ; {code('release.json')} donne les "
        f"contrôles passés avant publication. Point de reprise {code(evidence.checkpoint)}, sceau "
        f"{code(evidence.checkpoint_seal)} ; Clapas {plain(evidence.clapas)}.",
        f"{code('VERIFY.md')} tells how to check the signature without believing anything in this folder.{by_key} All "
        f"figures of this card come from {code('evidence.json')}, read from the training's ledger on "
        f"{date(evidence.time, to)}, and from the provider's answers, {code('release.yaml')}; {code('release.json')} has "
        f"the checks passed before publication. Checkpoint {code(evidence.checkpoint)}, seal "
        f"{code(evidence.checkpoint_seal)}; Clapas {plain(evidence.clapas)}.",
    )
    whole = "pip install 'clapas[verify]' && clapas verify ." + (" --public-key model.pub" if facts.key else "")
    return f"{title}\n\n```bash\nsha256sum -c SHA256SUMS\n{signature}{whole}\n```\n\n{what}\n"


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
