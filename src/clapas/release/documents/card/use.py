"""How the model is used: snippets that run as they stand, and what it is for and what not."""

from __future__ import annotations

from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import block, code
from clapas.release.documents.words import Language, either, listed

TEXT = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

name = "{repository}"  # {or_folder}
model = AutoModelForCausalLM.from_pretrained(name)
tokenizer = AutoTokenizer.from_pretrained(name)
inputs = tokenizer("Le salarié a droit à", return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=50)
print(tokenizer.decode(output[0], skip_special_tokens=True))"""
CHAT = """\
from transformers import pipeline

chat = pipeline("text-generation", "{repository}")  # {or_folder}
messages = [{{"role": "user", "content": "Qu'est-ce qu'une convention collective ?"}}]
print(chat(messages, max_new_tokens=200)[0]["generated_text"][-1]["content"])"""


def quick_start(facts: Facts, to: Language) -> str:
    """Transformers; the same as a conversation where the model has a chat template; llama.cpp and Ollama with GGUF."""
    title = either(to, "### Prise en main", "### Quick start")
    or_folder = either(to, "ou le dossier téléchargé", "or the folder that you fetched")
    snippet = CHAT if facts.is_chat else TEXT
    python = snippet.format(repository=facts.answers.model.repository, or_folder=or_folder)
    return "\n\n".join(filter(None, [title, f"```python\n{python}\n```", _gguf(facts, to)])) + "\n"


def _gguf(facts: Facts, to: Language) -> str:
    """The same on a laptop, where there are files of GGUF."""
    files = sorted(facts.gguf)
    if not files:
        return ""
    one, name = files[-1], facts.answers.model.repository.rpartition("/")[2].lower()
    told = either(to, "Au format GGUF, pour llama.cpp et Ollama :", "As GGUF, for llama.cpp and Ollama:")
    mode = "-cnv" if facts.is_chat else '-no-cnv -p "Le salarié a droit à"'
    lines = [
        f"llama-cli -m gguf/{one} {mode} -n 50",
        f"echo 'FROM ./gguf/{one}' > Modelfile && ollama create {name} -f Modelfile && ollama run {name}",
    ]
    more = either(to, "Fichiers : ", "Files: ") + listed([code(f"gguf/{name}") for name in files], to)
    return f"{told}\n\n```bash\n" + "\n".join(lines) + f"\n```\n\n{more}."


def uses(facts: Facts, to: Language) -> str:
    """What people answered: for what, not for what, and what is allowed."""
    use = facts.answers.use
    titles = (
        ("### Usages prévus", "Hors de son domaine", "Usages permis")
        if to == "fr"
        else ("### Intended uses", "Out of scope", "Acceptable use")
    )
    said = (use.intended, use.out_of_scope, use.acceptable)
    told = [block(answer.said(to), 5) for answer in said]
    return f"{titles[0]}\n\n{told[0]}\n\n#### {titles[1]}\n\n{told[1]}\n\n#### {titles[2]}\n\n{told[2]}\n"
