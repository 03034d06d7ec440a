"""VERIFY.md: how anybody checks this release, without trusting us or our tools more than they wish.

The commands stand in blocks marked `sh`, each of which works in the release's folder: a test runs them as they stand.
"""

from __future__ import annotations

from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import address, code, plain
from clapas.release.documents.words import typeset
from clapas.release.layout import PUBLIC_KEY, REVISIONS, SIGNATURE, SUMS

Words = dict[str, str]

DOWNLOAD = "hf download {repository} --local-dir {folder}\ncd {folder}"
COMPARE = f"sha256sum -c --strict --quiet {SUMS}"
TOOLS = "pip install model-signing pyOpenSSL"
BY_KEY = f"python -m model_signing verify key . --signature {SIGNATURE} --public_key {PUBLIC_KEY}"
BY_IDENTITY = (
    f"python -m model_signing verify sigstore . --signature {SIGNATURE} "
    "--identity '{identity}' --identity_provider '{provider}'"
)
FINGERPRINT = f"openssl pkey -pubin -in {PUBLIC_KEY} -outform DER | sha256sum"
ALL = "clapas verify ."

FRENCH: Words = {
    "title": "# Vérifier ce modèle",
    "language": "*[In English below](#verify-this-model)*",
    "where": "Lancez ces commandes dans le dossier du modèle, téléchargé sans liens symboliques :",
    "sums": "## 1. Les sommes\n\nChaque fichier est celui qui a été publié. Rien ne s'affiche si tout est en ordre :",
    "sums_limit": "Cette commande ne voit pas un fichier ajouté ; la vérification de la signature, si.",
    "signature": "## 2. La signature\n\nLa signature porte sur tous les fichiers, les sommes comprises. Elle suit le "
    "format de l'OpenSSF pour les modèles et se vérifie hors ligne, avec un outil tiers :",
    "key": f"La clé publique est jointe ({code(PUBLIC_KEY)}). Jointe, elle prouve que rien n'a changé depuis la "
    "signature, non qui a signé : comparez son empreinte (SHA-256 de la clé, forme DER) à celle qui est publiée sur "
    "{website} ({provider}).",
    "fingerprint": "Empreinte :",
    "identity": "Signé sans clé, par {identity}, connecté chez {provider_url} ; Sigstore en tient registre. Cette "
    "vérification demande le réseau.",
    "revisions": f"Les étapes intermédiaires ({code(REVISIONS + '/')}, ou une branche chacune) ont leurs sommes et "
    "leur signature : les mêmes commandes dans leur dossier. Ici : {names}.",
    "all": "## 3. Le reste\n\nEn plus des sommes et de la signature : le modèle se charge avec transformers seul, dans "
    "un processus isolé, hors ligne, et ses documents disent ce que disent les preuves (`evidence.json`).",
    "better": "Avec la clé obtenue ailleurs que dans ce dossier : `clapas verify . --public-key CLÉ.pem`.",
}
ENGLISH: Words = {
    "title": "# Verify this model",
    "language": "*[En français ci-dessus](#vérifier-ce-modèle)*",
    "where": "Give the commands in the model's folder, downloaded without symbolic links:",
    "sums": "## 1. Sums\n\nEvery file is the one that was published. Nothing is shown if all is well:",
    "sums_limit": "This command does not see a file that was added; verifying the signature does.",
    "signature": "## 2. Signature\n\nThe signature covers every file, the sums too. It follows the OpenSSF's format "
    "for models and is verified offline, with a tool that is not ours:",
    "key": f"The public key comes with the model ({code(PUBLIC_KEY)}). As such it proves that nothing has changed "
    "since it was signed, not who signed: compare its fingerprint (SHA-256 of the key in its DER form) with the one "
    "that is published at {website} ({provider}).",
    "fingerprint": "Fingerprint:",
    "identity": "Signed without a key, by {identity}, logged in at {provider_url}; Sigstore keeps a record of it. This "
    "verification needs the network.",
    "revisions": f"Intermediate checkpoints ({code(REVISIONS + '/')}, or a branch each) have sums and a signature of "
    "their own: the same commands in their folder. Here: {names}.",
    "all": "## 3. The rest\n\nBesides sums and signature: the model loads with transformers alone, in a clean and "
    "offline process, and its documents say what the evidence (`evidence.json`) says.",
    "better": "With the key from elsewhere than this folder: `clapas verify . --public-key KEY.pem`.",
}


def documents(facts: Facts) -> dict[str, bytes]:
    """`VERIFY.md`, French, then English."""
    page = f"{typeset(_page(facts, FRENCH))}\n---\n\n{_page(facts, ENGLISH)}"
    return {"VERIFY.md": page.encode()}


def _page(facts: Facts, words: Words) -> str:
    answers = facts.answers
    download = DOWNLOAD.format(repository=answers.model.repository, folder=answers.model.repository.split("/")[1])
    parts = [words["title"], words["language"], words["where"], _block("console", download)]
    parts += [words["sums"], _block("sh", COMPARE), words["sums_limit"]]
    parts += [words["signature"], _block("console", TOOLS), *_signature(facts, words)]
    if facts.revisions:
        parts.append(words["revisions"].format(names=", ".join(map(code, facts.revisions))))
    parts += [words["all"], _block("console", "pip install 'clapas[verify]'"), _block("sh", ALL)]
    if facts.key is not None:
        parts.append(words["better"])
    return "\n\n".join(parts) + "\n"


def _signature(facts: Facts, words: Words) -> list[str]:
    """The commands of a key's, or of an identity's. Raises ValueError where neither signs."""
    provider, signer = facts.answers.provider, facts.answers.signer
    if facts.key is not None:
        said = words["key"].format(provider=plain(provider.name), website=address(provider.website))
        shown = [_block("sh", FINGERPRINT), words["fingerprint"], _block("text", facts.key)]
        return [_block("sh", BY_KEY), said, *shown]
    if signer is None:
        raise ValueError("VERIFY.md of a release that neither a key nor an identity signs")
    said = words["identity"].format(identity=code(signer.identity), provider_url=code(signer.provider))
    command = BY_IDENTITY.format(identity=signer.identity, provider=signer.provider)
    return [_block("console", command), said]


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
