"""`clapas chat`: a conversation at a terminal; through a pipe, each line is a turn and each answer goes to stdout."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from contextlib import closing

from clapas.evaluate.chat import Conversation
from clapas.evaluate.generate_command import loaded_for, options_of
from clapas.evaluate.stop_ids import own_chat
from clapas.recipe.errors import UserError
from clapas_data.chat.encoder import open_chat

PROMPT = "vous > "
NAMES = {
    "help": ("aide", "help"),
    "clear": ("effacer", "clear"),
    "system": ("systeme", "system"),
    "again": ("refaire", "retry"),
    "quit": ("quitter", "quit"),
}
"""What a command does -> its names, without accents, French first."""
HELP = """\
/aide               cette aide                                  (/help)
/effacer            oublier la conversation                     (/clear)
/systeme [TEXTE]    changer ou retirer la consigne, et effacer  (/system)
/refaire            une autre réponse à la dernière question    (/retry)
/quitter            partir ; Ctrl-D aussi                       (/quit)
Ctrl-C arrête la réponse, pas la conversation."""


def chat_command(options: argparse.Namespace) -> None:
    """Talk until the input ends. Raises UserError where the model has no chat template."""
    loaded = loaded_for(options, texts=1)
    folder, template = loaded.tokenizer_folder, options.template
    chat = own_chat(folder) if template is None else open_chat(folder, template)
    conversation = Conversation(loaded, chat, options_of(options), _tell, options.system)
    if sys.stdin.isatty():
        _at_terminal(conversation, options.seed)
    else:
        _through_pipe(conversation)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _through_pipe(conversation: Conversation) -> None:
    """Each line is a turn, as it stands; a line that is refused ends the conversation."""
    for number, line in enumerate(sys.stdin, 1):
        if not (text := line.rstrip("\r\n")).strip():
            continue
        try:
            _say(conversation, text)
        except UserError as error:
            raise UserError(error.what, where=f"stdin:{number}", found=error.found, wanted=error.wanted) from None


def _at_terminal(conversation: Conversation, seed: int) -> None:
    import readline  # noqa: F401 its history and editing keys, for `input`

    _tell(f"Ctrl-D pour partir, /aide pour les commandes (/help: commands; seed {seed})")
    while True:
        answers = False
        try:
            line = input(PROMPT).strip()
            answers = True
            text = _obey(conversation, line) if line.startswith("/") else line
            if text is None:
                return
            if text:
                _say(conversation, text)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:  # at any moment: it never ends the chat
            _tell("\n[arrêté] (stopped)" if answers else "\nCtrl-D ou /quitter pour partir (to leave)")
        except UserError as error:
            _tell(str(error))


def _say(conversation: Conversation, text: str) -> None:
    with closing(conversation.answer(text)) as pieces:  # a stopped answer is noted at once
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _obey(conversation: Conversation, line: str) -> str | None:
    """Do what a command says. Returns the turn to answer now, empty for none; None to leave."""
    word, _, rest = line[1:].partition(" ")
    plain = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))
    does = next((does for does, names in NAMES.items() if plain in names), None)
    match does:
        case "help":
            _tell(HELP)
        case "clear":
            conversation.clear()
            _tell("conversation effacée (cleared)")
        case "system":
            conversation.system = rest.strip() or None
            conversation.clear()
            _tell("consigne retirée (no system message)" if conversation.system is None else "consigne changée (set)")
        case "again":
            if (text := conversation.again()) is not None:
                return text
            _tell("rien à refaire (nothing to retry)")
        case "quit":
            return None
        case _:
            _tell(f"/{word} : commande inconnue, voir /aide (unknown command: /help)")
    return ""
