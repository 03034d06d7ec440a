"""bos, eos and pad that files, tokenizer and shards do not agree on: check 7."""

from __future__ import annotations

from tests.release.mutations.config import changed, config, fields
from tests.release.mutations.mutant import Case, Mutant, Values


def eos_is_pad(values: Values) -> None:
    values["eos_token_id"] = values["pad_token_id"]


def swap_names(values: Values) -> None:
    values["eos_token"], values["pad_token"] = values["pad_token"], values["eos_token"]


def other_eos(values: Values) -> None:
    for data in values["data"]:
        data["eos"] += 1


def swap_everywhere(case: Case) -> None:
    """Every file of the release agrees, and the shards say otherwise."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        case.with_json(name, swap_names)
    for name in ("config.json", "generation_config.json"):
        case.with_json(name, swap_ids)


def swap_ids(values: Values) -> None:
    values["eos_token_id"], values["pad_token_id"] = values["pad_token_id"], values["eos_token_id"]


def swap_in_the_manifest_too(case: Case) -> None:
    """What the data's manifest says follows; the documents themselves end with the other one."""
    swap_everywhere(case)

    def swap(values: Values) -> None:
        for data in values["data"]:
            data["eos"], data["pad"] = data["pad"], data["eos"]

    case.with_evidence(swap)


def in_floats(values: Values) -> None:
    values["eos_token_id"] = float(values["eos_token_id"])


def begin_with_bos(values: Values) -> None:
    values["add_bos_token"] = True


def stop_at_a_word(values: Values) -> None:
    values["eos_token_id"] = [values["eos_token_id"], 300]


MUTANTS = [
    Mutant("generation does not stop at EOS", 7, changed("generation_config.json", eos_is_pad), only=True),
    Mutant("generation stops at a word too", 7, changed("generation_config.json", stop_at_a_word), only=True),
    Mutant("config.json lists a word beside EOS", 7, changed("config.json", stop_at_a_word), only=True),
    Mutant("config.json has another EOS", 7, changed("config.json", eos_is_pad)),
    Mutant("config.json has no BOS", 7, config(bos_token_id=None)),
    Mutant("generation_config.json has no pad", 7, fields("generation_config.json", pad_token_id=None), only=True),
    Mutant("special_tokens_map.json has EOS and pad swapped", 7, changed("special_tokens_map.json", swap_names)),
    Mutant("tokenizer_config.json has EOS and pad swapped", 7, changed("tokenizer_config.json", swap_names)),
    Mutant("every file has EOS and pad swapped, the shards not", 7, swap_everywhere),
    Mutant("and the manifest too, the documents not", 7, swap_in_the_manifest_too, only=True),
    Mutant("EOS is a number with a point", 7, changed("generation_config.json", in_floats), only=True),
    Mutant("the shards were written with another EOS", 7, lambda case: case.with_evidence(other_eos), only=True),
    Mutant("texts begin with BOS, the shards' do not", 7, changed("tokenizer_config.json", begin_with_bos)),
]
